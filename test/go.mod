module github.com/belay-proxy/belay/test

go 1.26.0

require github.com/belay-proxy/belay v0.0.0

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/belay-proxy/belay => ../
