// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/testnet"
)

// A belay is a server that is upgraded again and again.
type belay struct {
	t     *testing.T
	dir   string
	args  []string
	addrs []string // that clients use
	admin string

	current *Process
	all     []*Process
	binary  string

	signaled time.Time // when a test has told it to end
}

// newBelay starts an origin and a server on a TCP address, a Unix socket, and a
// TCP address for TLS. prepare may change the directory that it works in.
func newBelay(t *testing.T, conf string, prepare ...func(dir string) error) *belay {
	t.Helper()
	dir, err := os.MkdirTemp("", "belay")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, f := range prepare {
		if err := f(dir); err != nil {
			t.Fatal(err)
		}
	}
	origin, err := NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(origin.Close)
	b := &belay{t: t, dir: dir, binary: os.Args[0]}
	file := filepath.Join(dir, "conf.yaml")
	b.admin = "unix:" + b.path("admin.sock")
	if strings.Contains(conf, "user:") {
		b.admin = testnet.FreeAddr(t)
	}
	conf = fmt.Sprintf("version: 1\nupgrade_sock: %s\nadmin_listen: %s\ngrace_period_seconds: 60\n%s", b.path("upgrade.sock"), b.admin, conf)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	b.must(writeCert(b.path("cert.pem")))
	secure := testnet.FreeAddr(t)
	b.addrs = []string{testnet.FreeAddr(t), "unix:" + b.path("http.sock"), "tls:" + secure}
	b.args = []string{"-c", file, "--backend", origin.Addr(), "--tls", secure, "--cert", b.path("cert.pem"),
		"--listen", b.addrs[0], "--listen", b.addrs[1]}
	t.Cleanup(func() {
		for _, p := range b.all {
			p.Kill()
		}
		if t.Failed() {
			for _, p := range b.all[max(0, len(b.all)-3):] {
				t.Logf("process %d printed:\n%s", p.PID(), p.Output())
			}
		}
	})
	b.current = b.start("")
	b.must(b.current.WaitFor("READY"))
	return b
}

// writeCert writes a certificate and its key to a file.
func writeCert(file string) error {
	c, err := cert.SelfSigned("localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return os.WriteFile(file, text, 0o600)
}

func (b *belay) path(name string) string { return filepath.Join(b.dir, name) }

// writeConf writes a configuration file and returns its name.
func (b *belay) writeConf(t *testing.T, text string) string {
	t.Helper()
	b.must(os.WriteFile(b.path("other.yaml"), []byte(text), 0o600))
	return b.path("other.yaml")
}

func (b *belay) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// command returns the command that starts a process which fails in the way of
// fault, "" for not at all.
func (b *belay) command(fault string, more ...string) *exec.Cmd {
	cmd := exec.Command(b.binary, append(b.args, more...)...)
	cmd.Env = append(os.Environ(), programEnv+"=1", faultEnv+"="+fault, "XDG_RUNTIME_DIR=", "BELAY_LOG=info,upgrade=debug",
		"GORACE=atexit_sleep_ms=0") // the race detector would hold up the end of the process
	return cmd
}

// start starts a process.
func (b *belay) start(fault string, more ...string) *Process {
	b.t.Helper()
	return b.startCommand(b.command(fault, more...))
}

func (b *belay) startCommand(cmd *exec.Cmd) *Process {
	b.t.Helper()
	p, err := StartProcess(cmd)
	b.must(err)
	b.all = append(b.all, p)
	return p
}

// upgrade replaces the current process and returns the old one.
func (b *belay) upgrade(newFirst bool) (old *Process) {
	b.t.Helper()
	old = b.current
	var next *Process
	if newFirst {
		next = b.start("", "--upgrade")
		b.must(next.WaitFor("waiting for the running process to hand over"))
		b.must(old.Signal(syscall.SIGQUIT))
	} else {
		b.must(old.Signal(syscall.SIGQUIT))
		next = b.start("", "-u")
	}
	b.must(next.WaitFor("READY"))
	b.must(old.WaitFor("a new process has taken over"))
	b.current = next
	return old
}

// reload changes the configuration and has the current process read it, once in
// its life.
func (b *belay) reload(number int) {
	b.t.Helper()
	b.must(b.writeSettings(number))
	b.must(b.current.Signal(syscall.SIGHUP))
	b.must(b.current.WaitFor("configuration reloaded")) // the first time that it does
}

// writeSettings writes the configuration file; it is another one for odd numbers.
func (b *belay) writeSettings(number int) error {
	text := fmt.Sprintf("version: 1\nupgrade_sock: %s\nadmin_listen: %q\ngrace_period_seconds: %d\n", b.path("upgrade.sock"), b.admin, 60+number%2)
	if err := os.WriteFile(b.path("new.yaml"), []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(b.path("new.yaml"), b.path("conf.yaml"))
}

// checkServes fails t unless the current process answers on all addresses, and
// says that it is ready.
func (b *belay) checkServes() {
	b.t.Helper()
	if b.admin != "" {
		c := NewClient(0, b.admin, new(Tally))
		defer c.close()
		c.from = nil
		if res, err := c.exchange("GET", "/readyz", "Host: localhost\r\n", nil); err != nil || res.StatusCode != 200 {
			b.t.Errorf("admin listener: %v, %v", res, err)
		}
	}
	for i, addr := range b.addrs {
		var tally Tally
		c := NewClient(i, addr, &tally)
		if err := c.get("/content/1/100", "", 1, 100); err != nil {
			b.t.Errorf("%s: %v", addr, err)
		}
		c.close()
	}
}

// checkTally fails t if a request of the load failed, or a client had none that
// went well.
func checkTally(t *testing.T, l *Load) {
	t.Helper()
	if idle := l.Idle(); len(idle) > 0 {
		t.Errorf("clients that did nothing: %q", idle)
	}
	if n := l.Failed(); n > 0 {
		t.Errorf("%d of %d requests failed:\n%s", n, int64(n)+l.OK(), l.Failures())
	}
}

// waitGone waits for the end of processes and checks that it was a good one.
func (b *belay) waitGone(limit time.Duration, processes ...*Process) {
	b.t.Helper()
	for _, p := range processes {
		if code, err := p.Wait(limit); err != nil || code != 0 {
			b.t.Errorf("process %d: code %d, %v\n%s", p.PID(), code, err, p.Output())
		}
	}
}

// log returns the lines of a process that contain text.
func logLines(p *Process, text string) (lines []string) {
	for line := range strings.Lines(p.Output()) {
		if strings.Contains(line, text) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
