module github.com/belay-proxy/belay/cmd

go 1.26.0

require (
	github.com/belay-proxy/belay v0.0.0
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.9
	golang.org/x/sys v0.49.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	go.yaml.in/yaml/v4 v4.0.0 // indirect
	golang.org/x/net v0.62.0 // indirect
)

replace github.com/belay-proxy/belay => ../
