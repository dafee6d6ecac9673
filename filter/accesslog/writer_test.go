// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A disk is an io.Writer that can be slow and can fail.
type disk struct {
	mu      sync.Mutex
	text    bytes.Buffer // guarded by mu
	writes  int          // guarded by mu
	err     error        // guarded by mu
	blocked chan struct{}
}

func (d *disk) Write(b []byte) (int, error) {
	if d.blocked != nil {
		<-d.blocked
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	if d.err != nil {
		return 0, d.err
	}
	return d.text.Write(b)
}

func (d *disk) state() (text string, writes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String(), d.writes
}

// running runs w until the result is called, which waits for its end.
func running(w *Writer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	return func() { cancel(); <-done }
}

// quiet returns a logger and what it has written.
func quiet() (*slog.Logger, *bytes.Buffer) {
	var text bytes.Buffer
	return slog.New(slog.NewTextHandler(&text, nil)), &text
}

// A line is written within a second, at once if there are many, at the end if
// there was no time, and after that at once.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d disk
		w := New(&d, nil)
		stop := running(w)
		synctest.Wait()
		want := ""
		check := func(when string, writes int) {
			t.Helper()
			synctest.Wait()
			if text, n := d.state(); text != want || n != writes {
				t.Errorf("%s: %d bytes in %d writes, want %d in %d", when, len(text), n, len(want), writes)
			}
		}
		w.add([]byte("one\n"))
		w.add([]byte("two\n"))
		check("at once", 0)
		time.Sleep(time.Second)
		want = "one\ntwo\n"
		check("after a second", 1)
		time.Sleep(10 * time.Second)
		check("when there is nothing", 1)

		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range flushAt/len(line) - 1 {
			w.add(line)
		}
		check("one line before there is enough", 1)
		w.add(line)
		want += strings.Repeat(string(line), flushAt/len(line))
		check("when there is enough", 2)

		w.add([]byte("late\n"))
		stop()
		want += "late\n"
		check("at the end", 3)
		w.add([]byte("later\n"))
		want += "later\n"
		check("after the end", 4)
		if n := w.Dropped(); n != 0 {
			t.Errorf("%d lines were left out, want none", n)
		}
	})
}

// While the disk does nothing, requests go on; what is beyond the limit is left
// out, counted, and reported.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logged := quiet()
		d := &disk{blocked: make(chan struct{})}
		w := New(d, logger)
		stop := running(w)
		line := []byte(strings.Repeat("x", 1023) + "\n")
		w.add(line)
		time.Sleep(time.Second)
		synctest.Wait() // Run waits for the disk, with one line
		for range maxPending/len(line) + 3 {
			w.add(line)
		}
		if n := w.Dropped(); n != 3 {
			t.Errorf("%d lines were left out, want 3", n)
		}
		close(d.blocked)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if text, _ := d.state(); len(text) != maxPending+len(line) {
			t.Errorf("%d bytes were written, want %d", len(text), maxPending+len(line))
		}
		if strings.Count(logged.String(), "lines=3") != 1 {
			t.Errorf("logged: %q, want that 3 lines were left out, once", logged)
		}
		w.Flush()
		if cap(w.spare) > maxKept || cap(w.pending) > maxKept {
			t.Errorf("buffers of %d and %d bytes are kept, want at most %d", cap(w.spare), cap(w.pending), maxKept)
		}
		stop()
	})
}

func TestDiskFails(t *testing.T) {
	t.Parallel()
	logger, logged := quiet()
	d := &disk{err: errors.New("disk full")}
	w := New(d, logger)
	for range 3 {
		w.add([]byte("lost\n"))
		w.Flush()
	}
	d.err = nil
	w.add([]byte("kept\n"))
	w.Flush()
	if text, _ := d.state(); text != "kept\n" {
		t.Errorf("written: %q, want kept", text)
	}
	if s := logged.String(); strings.Count(s, "disk full") != 1 || strings.Count(s, "written again") != 1 {
		t.Errorf("logged: %q, want the failure and its end, each once", s)
	}
}

func TestOpenAndReopen(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(name, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Open(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.add([]byte("one\n"))
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	w.add([]byte("two\n"))
	w.Flush()
	// A file that cannot be opened: its place is taken by a directory.
	if err := errors.Join(os.Rename(name, name+".2"), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("Reopen = %v, want an error that names the file", err)
	}
	w.add([]byte("three\n"))
	w.Flush()
	for file, want := range map[string]string{name + ".1": "before\none\n", name + ".2": "two\nthree\n"} {
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s has %q, %v, want %q", filepath.Base(file), got, err, want)
		}
	}
	if _, err := Open(filepath.Join(name, "none", "log"), nil); err == nil {
		t.Error("Open in a directory that does not exist succeeded")
	}
	if err := New(io.Discard, nil).Reopen(); err != nil {
		t.Errorf("Reopen of what is no file = %v, want nil", err)
	}
}

// Lines of several requests never mix.
func TestConcurrentLines(t *testing.T) {
	t.Parallel()
	var d disk
	w := New(&d, nil)
	stop := running(w)
	var all sync.WaitGroup
	const each = 500
	for _, c := range "abcd" {
		all.Go(func() {
			line := []byte(strings.Repeat(string(c), 99) + "\n")
			for range each {
				w.add(line)
			}
		})
	}
	all.Wait()
	stop()
	text, _ := d.state()
	count := make(map[string]int)
	for line := range strings.Lines(text) {
		count[line]++
	}
	for _, c := range "abcd" {
		if n := count[strings.Repeat(string(c), 99)+"\n"]; n != each {
			t.Errorf("%d lines of %c, want %d", n, c, each)
		}
	}
	if len(count) != 4 {
		t.Errorf("%d kinds of line, want 4", len(count))
	}
}
