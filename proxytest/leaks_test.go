// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// recorder is a TB that notes failures and runs its clean-up on demand.
type recorder struct {
	testing.TB
	cleanup []func()
	failed  string
}

func (r *recorder) Helper()                           {}
func (r *recorder) Cleanup(f func())                  { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Errorf(format string, args ...any) { r.failed += fmt.Sprintf(format, args...) }

func TestCheckLeaks(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("descriptors cannot be listed here")
	}
	rec := &recorder{TB: t}
	checkLeaks(rec, 50*time.Millisecond)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	go leak(stop)
	for _, f := range rec.cleanup {
		f()
	}
	for _, want := range []string{"2 leaked", "proxytest.leak", "socket:"} {
		if !strings.Contains(rec.failed, want) {
			t.Errorf("report %q, want it to contain %q", rec.failed, want)
		}
	}
	close(stop)
	_ = l.Close()
}

func leak(stop chan struct{}) { <-stop }
