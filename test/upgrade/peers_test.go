// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/testnet"
)

var peers = flag.Bool("peers", false, "put the same load on nginx and HAProxy while they are upgraded")

// A system is a server that can be replaced by a new process.
type system interface {
	// upgrade replaces the running process. It returns when the new one
	// accepts connections and the old one does not.
	upgrade() error

	// reload has the running process read its configuration again. It returns
	// when that has begun.
	reload() error

	// stop ends all processes.
	stop()
}

// TestPeers upgrades this program, nginx and HAProxy under the same load, on TCP,
// TLS and a Unix socket, has them read their configuration again after each
// upgrade, and prints what clients experience as a table. Only this one must be
// without failures: it is a measurement. nginx knows no WebSockets on HTTP/2, so
// that there are none in the load.
func TestPeers(t *testing.T) {
	if !*peers {
		t.Skip("needs -peers")
	}
	upgrades := 20
	if *long {
		upgrades = 100
	}
	tests := []struct {
		name  string
		start func(t *testing.T, dir, origin string, addrs []string) (system, error)
	}{
		{"belay", startBelay},
		{"nginx, USR2 and QUIT", startNginx},
		{"haproxy -sf, expose-fd", func(t *testing.T, dir, origin string, addrs []string) (system, error) {
			return startHAProxy(t, dir, origin, addrs, "")
		}},
		{"haproxy, idle-close-on-response", func(t *testing.T, dir, origin string, addrs []string) (system, error) {
			return startHAProxy(t, dir, origin, addrs, "option idle-close-on-response")
		}},
	}
	var report strings.Builder
	fmt.Fprintf(&report, "\n| server | upgrades | reloads | requests | failed | sent again (HTTP/2) | slowest quick request |\n"+
		"|---|--:|--:|--:|--:|--:|--:|\n")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "peer")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			origin, err := NewOrigin()
			if err != nil {
				t.Fatal(err)
			}
			defer origin.Close()
			if err := writeCert(filepath.Join(dir, "cert.pem")); err != nil {
				t.Fatal(err)
			}
			addrs := []string{testnet.FreeAddr(t), "unix:" + filepath.Join(dir, "http.sock"), "tls:" + testnet.FreeAddr(t)}
			s, err := tt.start(t, dir, origin.Addr(), addrs)
			if errors.Is(err, errNotInstalled) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.stop()
			load := StartLoadWithout(addrs, 8, "", withoutH2WebSocket)
			defer load.Stop()
			for i := range upgrades {
				time.Sleep(500 * time.Millisecond)
				if err := s.upgrade(); err != nil {
					t.Fatalf("upgrade %d: %v", i+1, err)
				}
				time.Sleep(500 * time.Millisecond)
				if err := s.reload(); err != nil {
					t.Fatalf("reload %d: %v", i+1, err)
				}
			}
			time.Sleep(500 * time.Millisecond)
			load.Stop()
			fmt.Fprintf(&report, "| %s | %d | %d | %d | %d | %d | %v |\n", tt.name, upgrades, upgrades, load.OK()+int64(load.Failed()),
				load.Failed(), load.Repeated(), load.Slowest().Round(time.Millisecond))
			if load.Failed() > 0 {
				t.Logf("failed:\n%s", load.Failures())
			}
			if tt.name == "belay" {
				checkTally(t, load)
			}
		})
	}
	fmt.Print(report.String()) // as it goes into docs/benchmarks.md
}

// answers reports whether something accepts connections at addr.
func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// belaySystem is this program, as a system.
type belaySystem struct {
	b     *belay
	count int
}

func startBelay(t *testing.T, dir, origin string, addrs []string) (system, error) {
	b := &belay{t: t, dir: dir, binary: os.Args[0], addrs: addrs}
	b.must(b.writeSettings(0))
	b.args = []string{"-c", b.path("conf.yaml"), "--backend", origin, "--listen", addrs[0], "--listen", addrs[1],
		"--tls", strings.TrimPrefix(addrs[2], "tls:"), "--cert", b.path("cert.pem")}
	b.current = b.start("")
	return &belaySystem{b: b}, b.current.WaitFor("READY")
}

func (s *belaySystem) upgrade() error {
	s.count++
	s.b.upgrade(s.count%2 == 0)
	return nil
}

func (s *belaySystem) reload() error {
	s.b.reload(s.count)
	return nil
}

func (s *belaySystem) stop() {
	for _, p := range s.b.all {
		p.Kill()
	}
}

// group makes the children of cmd one group, so that stopGroup ends all that
// came from it.
func group(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// stopGroup ends a group of processes.
func stopGroup(group int) {
	if group <= 1 || group == syscall.Getpgrp() {
		return // it never came to be
	}
	syscall.Kill(-group, syscall.SIGTERM)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && syscall.Kill(-group, 0) == nil; {
		time.Sleep(5 * time.Millisecond)
	}
	syscall.Kill(-group, syscall.SIGKILL)
}

// An nginx starts its new version itself, on SIGUSR2.
// It does that only as a daemon: all its processes are of the session and group
// of the first.
type nginx struct {
	pidFile       string
	group, master int
}

const nginxConf = `
worker_processes 2;
error_log %[1]s/error.log;
pid %[1]s/nginx.pid;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	keepalive_requests 1000000;
	client_max_body_size 0;
	map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
	upstream origin { server %[2]s; keepalive 256; }
	server {
		listen %[3]s;
		listen %[4]s;
		listen %[5]s ssl http2;
		ssl_certificate %[1]s/cert.pem;
		ssl_certificate_key %[1]s/cert.pem;
		location / {
			proxy_pass http://origin;
			proxy_http_version 1.1;
			proxy_buffering off;
			proxy_request_buffering off;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
		}
	}
}
`

func startNginx(t *testing.T, dir, origin string, addrs []string) (system, error) {
	path, err := lookUp("nginx")
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, origin, addrs[0], addrs[1], strings.TrimPrefix(addrs[2], "tls:")), 0o600); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // its workers have another user
		return nil, err
	}
	if out, err := exec.Command(path, "-c", conf, "-p", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("nginx: %w: %s", err, out)
	}
	n := &nginx{pidFile: filepath.Join(dir, "nginx.pid")}
	err = waitUntil("nginx answers", func() bool { return n.readPID(n.pidFile) > 0 && answers(addrs[0]) })
	n.master = n.readPID(n.pidFile)
	if n.master == 0 {
		return nil, err
	}
	n.group, _ = syscall.Getpgid(n.master)
	return n, err
}

func (n *nginx) readPID(file string) int {
	text, _ := os.ReadFile(file)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

func (n *nginx) upgrade() error {
	old := n.master
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		return err
	}
	err := waitUntil("there is a new master with workers", func() bool {
		n.master = n.readPID(n.pidFile)
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", n.master, n.master))
		return n.master > 0 && n.master != old && len(strings.Fields(string(children))) >= 2
	})
	if err != nil {
		return err
	}
	if err := syscall.Kill(old, syscall.SIGQUIT); err != nil {
		return err
	}
	// It takes no further SIGUSR2 before the old one is gone.
	return waitUntil("the old master is gone", func() bool { return !alive(old) })
}

func (n *nginx) reload() error { return syscall.Kill(n.master, syscall.SIGHUP) }

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

func (n *nginx) stop() { stopGroup(n.group) }

// A haproxy gets its sockets from the old one over the stats socket.
type haproxy struct {
	path, conf, stats string
	current           *Process
	all               []*Process
}

const haproxyConf = `
global
	stats socket %[1]s mode 600 level admin expose-fd listeners
	nbthread 2
	maxconn 4000
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	timeout tunnel 1h
	http-reuse always
	%[5]s
frontend main
	bind %[3]s
	bind unix@%[4]s mode 666
	bind %[6]s ssl crt %[7]s alpn h2,http/1.1
	default_backend origin
backend origin
	server origin %[2]s pool-max-conn 256
`

func startHAProxy(_ *testing.T, dir, origin string, addrs []string, option string) (system, error) {
	path, err := lookUp("haproxy")
	if err != nil {
		return nil, err
	}
	h := &haproxy{path: path, conf: filepath.Join(dir, "haproxy.cfg"), stats: filepath.Join(dir, "stats.sock")}
	text := fmt.Appendf(nil, haproxyConf, h.stats, origin, addrs[0], strings.TrimPrefix(addrs[1], "unix:"), option,
		strings.TrimPrefix(addrs[2], "tls:"), filepath.Join(dir, "cert.pem"))
	if err := os.WriteFile(h.conf, text, 0o600); err != nil {
		return nil, err
	}
	return h, h.start()
}

// start starts a process, which ends the ones before it, and waits until it
// has taken over.
func (h *haproxy) start(more ...string) error {
	p, err := StartProcess(group(exec.Command(h.path, append([]string{"-db", "-f", h.conf}, more...)...)))
	if err != nil {
		return err
	}
	h.all = append(h.all, p)
	h.current = p
	return waitUntil("haproxy answers", func() bool { return h.info("Pid") == strconv.Itoa(p.PID()) })
}

// info asks the stats socket.
func (h *haproxy) info(key string) string {
	c, err := net.Dial("unix", h.stats)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	io.WriteString(c, "show info\n")
	text, _ := io.ReadAll(c)
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, key+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (h *haproxy) upgrade() error {
	return h.start("-x", h.stats, "-sf", strconv.Itoa(h.current.PID()))
}

// reload is an upgrade, too: a new process is how HAProxy reads its configuration.
func (h *haproxy) reload() error { return h.upgrade() }

func (h *haproxy) stop() {
	for _, p := range h.all {
		stopGroup(p.PID())
	}
}
