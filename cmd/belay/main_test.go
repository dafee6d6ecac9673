// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/belay-proxy/belay/internal/app/apptest"
	"github.com/belay-proxy/belay/proxytest"
)

func TestMain(m *testing.M) {
	apptest.Main(m, map[string]func(){"belay": main, "origin": origin})
}

// origin is a program that answers every request with its second argument,
// and listens on its first.
func origin() {
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("origin listens on", l.Addr())
	log.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, os.Args[2])
	})))
}

// startOrigin starts an origin as a process of its own, which can be killed.
func startOrigin(t *testing.T, addr, text string) (p *apptest.Process, bound string) {
	t.Helper()
	p = apptest.Start(t, "origin", addr, text)
	return p, p.Find(`origin listens on (\S+)`)
}

// startProxy starts belay proxy on a free port, which it returns.
func startProxy(t *testing.T, args ...string) (p *apptest.Process, addr string) {
	t.Helper()
	p = apptest.Start(t, "belay", append([]string{"proxy", "--listen", "127.0.0.1:0"}, args...)...)
	return p, p.Find(`belay listens on http://(\S+) for`)
}

// A load sends requests from several clients without a pause and counts.
type load struct {
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	seen    map[string]int // answers by text, "" for all; guarded by mu
	lost    []string       // what came instead of an answer; guarded by mu
	changed chan struct{}  // closed and replaced with each answer; guarded by mu
}

func startLoad(t *testing.T, addr string) *load {
	l := &load{stop: make(chan struct{}), seen: make(map[string]int), changed: make(chan struct{})}
	for range 8 {
		client := proxytest.NewClient(t, addr)
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
					l.count(client.Get("/"))
				}
			}
		})
	}
	return l
}

func (l *load) count(res *proxytest.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[""]++
	if res.Err != nil || res.Status != 200 {
		l.lost = append(l.lost, res.String())
	} else {
		l.seen[res.Text()]++
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// waitFor waits until n more requests have been answered with text, or with
// anything if text is "".
func (l *load) waitFor(t *testing.T, n int, text string) {
	t.Helper()
	l.mu.Lock()
	want := l.seen[text] + n
	l.mu.Unlock()
	for late := time.After(30 * time.Second); ; {
		l.mu.Lock()
		changed, have := l.changed, l.seen[text]
		l.mu.Unlock()
		if have >= want {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%d answers %q, want %d", have, text, want)
		}
	}
}

// end stops the load and reports what was lost.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.done.Wait()
	if n := len(l.lost); n > 0 {
		t.Errorf("%d of %d requests were lost, want none; the first: %s", n, l.seen[""], l.lost[0])
	}
	t.Logf("%d requests", l.seen[""])
}

func TestKilledOriginLosesNothing(t *testing.T) {
	t.Parallel()
	_, one := startOrigin(t, "127.0.0.1:0", "one")
	victim, two := startOrigin(t, "127.0.0.1:0", "two")
	_, three := startOrigin(t, "127.0.0.1:0", "three")
	p, addr := startProxy(t, "--to", one, "--to", two, "--to", three)

	l := startLoad(t, addr)
	l.waitFor(t, 100, "two")
	victim.Signal(syscall.SIGKILL)
	victim.Wait()
	p.Find(`"backend is unhealthy" pkg=balancer backend=` + two)
	l.waitFor(t, 100, "")

	startOrigin(t, two, "two")
	p.Find(`"backend is healthy again" pkg=balancer backend=` + two)
	l.waitFor(t, 100, "two")
	l.end(t)
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
}

func TestNoRetriesNoCheck(t *testing.T) {
	t.Parallel()
	alive := proxytest.NewOrigin(t, proxytest.Body("alive"))
	dead := proxytest.NewOrigin(t, proxytest.Refuse())
	_, addr := startProxy(t, "--to", alive.Addr(), "--to", dead.Addr(), "--retries", "0", "--health-check=false")
	client := proxytest.NewClient(t, addr)
	for range 3 {
		client.Get("/").Check(t, 200, "alive")
		client.Get("/").Check(t, 502, "502 Bad Gateway\n")
	}
}

func TestAllBackendsDead(t *testing.T) {
	t.Parallel()
	a, b := proxytest.NewOrigin(t, proxytest.Refuse()), proxytest.NewOrigin(t, proxytest.Refuse())
	tests := []struct {
		name   string
		args   []string
		status int
		body   string
	}{
		{"health check", nil, 503, "503 Service Unavailable\n"},
		{"none", []string{"--health-check=false"}, 502, "502 Bad Gateway\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, addr := startProxy(t, append(tt.args, "--to", a.Addr(), "--to", b.Addr())...)
			proxytest.NewClient(t, addr).Get("/").Check(t, tt.status, tt.body)
		})
	}
}

// TestDrain makes sure that SIGTERM lets a request in hand finish.
func TestDrain(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	o := proxytest.NewOrigin(t, proxytest.Handle(func(proxytest.RecordedRequest) []byte {
		close(arrived)
		<-release
		return []byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
	}))
	p, addr := startProxy(t, "--to", o.Addr())
	response := make(chan *proxytest.Response, 1)
	client := proxytest.NewClient(t, addr)
	go func() { response <- client.Get("/") }()
	<-arrived
	idle, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	p.Signal(syscall.SIGTERM)
	p.Find(`msg="draining: \d connections?, 1 request, \d+ s left"`)
	idle.Read(make([]byte, 1)) // ends when idle connections are ended
	close(release)
	res := <-response
	res.Check(t, 200, "late")
	if res.KeepAlive() {
		t.Error("the response does not end the connection, want Connection: close")
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code is %d, want 0", code)
	}
}

func TestLogLevel(t *testing.T) {
	t.Parallel()
	o := proxytest.NewOrigin(t)
	for _, tt := range []struct {
		env  string
		args []string
		want bool // that info is logged
	}{
		{"BELAY_LOG=", nil, true},
		{"BELAY_LOG=warn", nil, false},
		{"BELAY_LOG=warn", []string{"--log-level", "info"}, true},
		{"BELAY_LOG=info", []string{"--log-level", "error,server=warn"}, false},
	} {
		p := apptest.StartEnv(t, "belay", []string{tt.env}, append([]string{"proxy", "--listen", "127.0.0.1:0", "--to", o.Addr()}, tt.args...)...)
		p.Find("belay listens on")
		p.Signal(syscall.SIGTERM)
		p.Wait()
		if got := strings.Contains(p.Output(), "level=INFO"); got != tt.want {
			t.Errorf("%s %q: info is logged: %v, want %v", tt.env, tt.args, got, tt.want)
		}
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	p, code := apptest.Run(t, "belay", "demo", "--http", "127.0.0.1:0", "--duration", "2s")
	if code != 0 || !strings.Contains(p.Stdout(), ", 0 lost;") {
		t.Errorf("exit code is %d, want 0 and no request lost", code)
	}
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	p := apptest.Start(t, "belay", "demo", "--http", "127.0.0.1:0")
	p.Find("requests per second")
	p.Signal(syscall.SIGINT)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code after SIGINT is %d, want 0", code)
	}
	p.Find(`requests, 0 lost;`)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	const backend = "127.0.0.1:1"
	tests := []struct {
		args   string
		code   int
		prints string
	}{
		{"", 0, "belay demo"},
		{"--help", 0, "belay proxy --to 127.0.0.1:3001"},
		{"proxy --help", 0, "--grace-period"},
		{"demo --help", 0, "--duration"},
		{"version --help", 0, "Print the version"},
		{"version", 0, "belay "},
		{"--version", 0, "go1."},
		{"serve", 2, `there is no command "serve"`},
		{"version 1", 2, `unexpected argument "1"`},
		{"proxy", 2, "there is no backend"},
		{"proxy --too " + backend, 2, "unknown flag: --too"},
		{"proxy --to", 2, "flag needs an argument"},
		{"proxy --to 127.0.0.1", 2, `backend "127.0.0.1": want host:port`},
		{"proxy --to me@" + backend, 2, `backend "me@127.0.0.1:1": it is more than host and port`},
		{"proxy --listen 127.0.0.1:1 --to " + backend, 1, "backend 127.0.0.1:1 is where belay listens itself"},
		{"proxy --to 127.0.0.1:8080", 1, "backend 127.0.0.1:8080 is where belay listens itself"},
		{"proxy --conf= --to " + backend, 2, "--conf: there is no file name"},
		{"proxy --admin 0.0.0.0:1 --to " + backend, 2, `--admin: address "0.0.0.0:1": want unix:/path, or a loopback address`},
		{"proxy --health-check grpc --to " + backend, 2, `unexpected argument "grpc": did you mean --health-check=grpc?`},
		{"proxy --health-check --to " + backend + " http", 2, `unexpected argument "http"`},
		{"help proxy", 0, "--grace-period"},
		{"help", 0, "belay demo"},
		{"help serve", 2, `there is no command "serve"`},
		{"demo --duration -1s", 2, "--duration: is -1s, want 0 or more"},
		{"status --pid 0", 2, "--pid: is 0, want the id of a process"},
		{"stop --pid -1", 2, "--pid: is -1"},
		{"reload --name ../a", 2, `--name: is "../a", want the name of a program`},
		{"upgrade --name=", 2, `--name: is "", want the name of a program`},
		{"proxy --to " + backend + "=x", 2, `weight is "x"`},
		{"proxy --listen 1 --to " + backend, 2, `--listen: address "1"`},
		{"proxy --retries -1 --to " + backend, 2, "--retries: is -1, want 0 to 100"},
		{"proxy --retries 101 --to " + backend, 2, "--retries: is 101, want 0 to 100"},
		{"proxy --retries x --to " + backend, 2, "--retries"},
		{"proxy --threads -1 --to " + backend, 2, "--threads: is -1"},
		{"proxy --max-connections -1 --to " + backend, 2, "--max-connections: is -1"},
		{"proxy --max-connections 1000000000 --listen 127.0.0.1:0 --to " + backend, 1, "the hard limit is"},
		{"proxy --grace-period -1s --to " + backend, 2, "--grace-period: is -1s"},
		{"proxy --host a/b --to " + backend, 2, `"a/b" is not a host`},
		{"proxy --log-level loud --to " + backend, 2, `"loud" is not a level`},
		{"proxy --https 127.0.0.1:0 --to " + backend, 2, "--https: there is no certificate: name its files with --cert FILE and --key FILE"},
		{"proxy --https 127.0.0.1:0 --cert a --to " + backend, 2, "--cert and --key go together, once each for a certificate, in the same order: there are 1 and 0"},
		{"proxy --cert a --key b --to " + backend, 2, "--cert: there is no listener with TLS: add one with --https"},
		{"proxy --https nowhere --cert a --key b --to " + backend, 2, `--https: address "nowhere"`},
		{"proxy --https 127.0.0.1:0 --cert a --key b --h2c --to " + backend, 2, "--h2c: there is no listener without TLS"},
		{"proxy --tls-profile old --to " + backend, 2, `--tls-profile: is "old", want intermediate or modern`},
		{"proxy --tls-profile modern --to " + backend, 2, "--tls-profile: there is no listener with TLS: add one with --https"},
		{"proxy --to ftp://a", 2, `there is no scheme "ftp"`},
		{"proxy --to https://a/b", 2, "more than scheme, host and port"},
		{"proxy --upstream-ca f --to " + backend, 2, "--upstream-ca: there is no backend with TLS"},
		{"proxy --upstream-server-name a --to h2c://" + backend, 2, "--upstream-server-name: there is no backend with TLS"},
		{"proxy --upstream-insecure-skip-verify --to " + backend, 2, "--upstream-insecure-skip-verify: there is no backend with TLS"},
		{"proxy --upstream-insecure-skip-verify --upstream-ca f --to https://" + backend, 2, "exclude each other"},
		{"proxy --upstream-server-name a/b --to https://" + backend, 2, `--upstream-server-name: "a/b" is not a host`},
		{"proxy --health-check=http --to " + backend, 2, `health check is "http", want tcp, grpc or false`},
		{"proxy --upstream-ca /nonexistent --to https://" + backend, 1, "/nonexistent: no such file"},
		{"proxy --access-log /nonexistent/log --to " + backend, 1, "/nonexistent/log: no such file"},
		{"proxy -d --access-log - --to " + backend, 1, "access log: a process in the background has no standard output"},
		{"proxy -t --health-check --listen 127.0.0.1:0 --to " + backend, 0, "configuration test passed"},
		{"proxy -t --health-check=grpc --listen 127.0.0.1:0 --to h2c://" + backend, 0, "configuration test passed"},
		{"demo --http nowhere", 2, `address "nowhere"`},
		{"demo --http unix:/x", 2, "want host:port"},
		{"proxy --to " + backend + " --to " + backend, 1, "in the set twice"},
		{"proxy --to 127.0.0.1:1 --listen " + taken.Addr().String(), 1, "address already in use"},
		{"demo --http " + taken.Addr().String(), 1, "address already in use"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			p, code := apptest.Run(t, "belay", strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code is %d, want %d", code, tt.code)
			}
			if !strings.Contains(p.Output(), tt.prints) {
				t.Errorf("it printed %q, want it to contain %q", p.Output(), tt.prints)
			}
			if tt.code != 0 && strings.Contains(p.Output(), "Flags:") {
				t.Errorf("it printed its usage for an error: %q", p.Output())
			}
		})
	}
}

func TestTuneGC(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "200")
	tuneGC()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("GOGC is %d, want it untouched when the environment sets it", got)
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if err := os.Unsetenv(name); err != nil { // t.Setenv restores GOGC
			t.Fatal(err)
		}
	}
	tuneGC()
	if got := debug.SetGCPercent(100); got != gcPercent {
		t.Errorf("GOGC is %d, want %d", got, gcPercent)
	}
}

// TestGuideHasAllFlags checks that the page about them knows every flag.
func TestGuideHasAllFlags(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/guide/02-configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	cmd := newProxy()
	cmd.InitDefaultHelpFlag()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && !strings.Contains(string(page), "--"+f.Name) {
			t.Errorf("docs/guide/02-configuration.md has no --%s", f.Name)
		}
	})
}

// TestCompletion checks what a shell is told that completes a command line.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"__complete st":                    "status\tSay how a running belay is\nstop\tEnd a running belay and wait until it has ended\n:4\n",
		"__complete proxy --tls-profile ":  "intermediate\nmodern\n:4\n",
		"__complete proxy --health-check=": "tcp\ngrpc\nfalse\n:4\n",
		"__complete proxy --log-level ":    "error\nwarn\ninfo\ndebug\noff\n:4\n",
		"__complete proxy --to ":           ":4\n",
		"__complete proxy --cert ":         ":0\n", // a file
		"completion bash":                  "# bash completion V2 for belay",
	} {
		var out bytes.Buffer
		root := newRoot()
		root.SetArgs(strings.Split(args, " "))
		root.SetOut(&out)
		root.SetErr(io.Discard)
		if err := root.Execute(); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("belay %s: %v, %q, want %q", args, err, out.String(), want)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range newRoot().Commands() {
		names = append(names, c.Name())
	}
	if want := []string{"demo", "proxy", "reload", "status", "stop", "upgrade", "version"}; !slices.Equal(names, want) {
		t.Errorf("commands are %q, want %q", names, want)
	}
}
