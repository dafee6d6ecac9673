// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/internal/testnet"
)

const (
	idleConns       = 10_000
	maxIdlePerConn  = 4 << 10 // bytes of memory of the process
	descriptorsLeft = 500     // for everything else in this process
)

// TestIdleMemory holds the memory that belay needs for an idle keep-alive
// connection.
func TestIdleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 connections")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < idleConns+descriptorsLeft {
		t.Skipf("%d descriptors (%v), want %d", limit.Cur, err, idleConns+descriptorsLeft)
	}
	origin, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	go func() {
		for {
			c, err := origin.Accept()
			if err != nil {
				return
			}
			go greet(c)
		}
	}()
	addr, pid := startBelay(t, origin.Addr().String())
	conns := openIdle(t, addr, 200) // buffers, threads and pools have their size
	before := residentBytes(t, pid)
	conns = append(conns, openIdle(t, addr, idleConns-len(conns))...)

	per := 0
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if per = (residentBytes(t, pid) - before) / idleConns; per <= maxIdlePerConn {
			break
		}
		if time.Now().After(end) {
			t.Errorf("%d bytes of memory for each idle connection, want at most %d", per, maxIdlePerConn)
			break
		}
	}
	t.Logf("%d bytes for each of %d connections", per, idleConns)
	for _, c := range conns[:10] { // they are all still served
		if err := ask(c); err != nil {
			t.Errorf("an idle connection: %v", err)
		}
	}
}

// startBelay starts the command in front of an origin.
func startBelay(t *testing.T, origin string, flags ...string) (addr string, pid int) {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "belay")
	build := exec.Command("go", "build", "-C", "../../cmd", "-o", exe, "./belay")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	addr = testnet.FreeAddr(t)
	cmd := exec.Command(exe, append([]string{"proxy", "--listen", addr, "--to", origin, "--health-check=false"}, flags...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		res, err := http.Get("http://" + addr + "/")
		if err == nil {
			_ = res.Body.Close()
			return addr, cmd.Process.Pid
		}
		if time.Now().After(end) {
			t.Fatal("belay does not serve: ", err)
		}
	}
}

// openIdle opens connections that have had one request each.
func openIdle(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	const dialers = 16
	conns := make([]net.Conn, n)
	errs := make([]error, dialers)
	var wg sync.WaitGroup
	for d := range dialers {
		wg.Go(func() {
			for i := d; i < n && errs[d] == nil; i += dialers {
				c, err := net.DialTimeout("tcp", addr, patience)
				if err != nil {
					errs[d] = err
					return
				}
				conns[i] = c
				errs[d] = ask(c)
			}
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return conns
}

// ask makes one request.
func ask(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// residentBytes returns the memory of a process that is in use.
func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no VmRSS in %s", status)
	return 0
}
