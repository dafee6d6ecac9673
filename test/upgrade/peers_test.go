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
)

var peers = flag.Bool("peers", false, "put the same load on nginx and HAProxy while they are upgraded")

// A system is a server that can be replaced by a new process.
type system interface {
	// upgrade replaces the running process. It returns when the new one
	// accepts connections and the old one does not.
	upgrade() error

	// stop ends all processes.
	stop()
}

// TestPeers upgrades this program, nginx and HAProxy under the same load, and
// prints what clients experience. Only this one must be without failures: it is
// a measurement.
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
	fmt.Fprintf(&report, "| server | upgrades | requests | failed | slowest quick request |\n|---|---|---|---|---|\n")
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
			addrs := []string{freeAddr(t), "unix:" + filepath.Join(dir, "http.sock")}
			s, err := tt.start(t, dir, origin.Addr(), addrs)
			if errors.Is(err, errNotInstalled) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.stop()
			load := StartLoad(addrs, 8, "")
			defer load.Stop()
			for i := range upgrades {
				time.Sleep(500 * time.Millisecond)
				if err := s.upgrade(); err != nil {
					t.Fatalf("upgrade %d: %v", i+1, err)
				}
			}
			time.Sleep(500 * time.Millisecond)
			load.Stop()
			fmt.Fprintf(&report, "| %s | %d | %d | %d | %v |\n", tt.name, upgrades, load.OK()+int64(load.Failed()), load.Failed(),
				load.Slowest().Round(time.Millisecond))
			if load.Failed() > 0 {
				t.Logf("failed:\n%s", load.Failures())
			}
			if tt.name == "belay" {
				checkTally(t, load)
			}
		})
	}
	t.Logf("results:\n%s", report.String())
}

// waitUntil waits until ok returns true.
func waitUntil(what string, ok func() bool) error {
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("it takes too long until %s", what)
		}
	}
	return nil
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
	conf := b.writeConf(t, "upgrade_sock: "+b.path("upgrade.sock")+"\n")
	b.args = []string{"-c", conf, "--backend", origin, "--listen", addrs[0], "--listen", addrs[1]}
	b.current = b.start("")
	return &belaySystem{b: b}, b.current.WaitFor("READY")
}

func (s *belaySystem) upgrade() error {
	s.count++
	s.b.upgrade(s.count%2 == 0)
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
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, origin, addrs[0], addrs[1]), 0o600); err != nil {
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
	text := fmt.Appendf(nil, haproxyConf, h.stats, origin, addrs[0], strings.TrimPrefix(addrs[1], "unix:"), option)
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

func (h *haproxy) stop() {
	for _, p := range h.all {
		stopGroup(p.PID())
	}
}
