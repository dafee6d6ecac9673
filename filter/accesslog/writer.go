// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/belay-proxy/belay/internal/daemon"
)

const (
	flushAt    = 32 << 10    // bytes that are written without waiting for flushEvery
	flushEvery = time.Second // the longest that a line waits, unless the disk is slow
	maxPending = 4 << 20     // bytes that wait for the disk; beyond it lines are left out
	maxKept    = 256 << 10   // capacity of a buffer that is kept for reuse
	warnEvery  = time.Minute // between two lines in the log about those left out
)

// A Writer gathers lines and writes them in large pieces. It is safe for
// concurrent use. Nothing is written before Run is called.
type Writer struct {
	name   string // of the file; "" if the program has brought the io.Writer
	logger *slog.Logger
	wake   chan struct{} // has an element when there is enough to be written

	mu      sync.Mutex
	pending []byte // whole lines; guarded by mu
	dropped int64  // guarded by mu
	ended   bool   // Run has returned: lines are written at once; guarded by mu

	outMu  sync.Mutex // held while writing, and while out is replaced
	out    io.Writer  // guarded by outMu
	spare  []byte     // pending was before; guarded by outMu
	failed bool       // the last write has failed; guarded by outMu
}

// New returns a Writer to out, which it does not close. logger receives what goes
// wrong; nil means slog.Default().
func New(out io.Writer, logger *slog.Logger) *Writer {
	return &Writer{out: out, logger: cmp.Or(logger, slog.Default()), wake: make(chan struct{}, 1)}
}

// Open returns a Writer that appends to a file, which is made, with mode 0640,
// if it does not exist. logger receives what goes wrong; nil means slog.Default().
// The file stays open until the end of the process.
func Open(name string, logger *slog.Logger) (*Writer, error) {
	name, err := filepath.Abs(name) // the working directory of a daemon may change
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	f, err := daemon.OpenLog(name)
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	w := New(f, logger)
	w.name = name
	return w, nil
}

// Reopen opens the file anew, because it has been renamed. What waits is
// written to the old one. After an error the old one stays in use. A Writer
// made by New has nothing to reopen.
func (w *Writer) Reopen() error {
	if w.name == "" {
		return nil
	}
	f, err := daemon.OpenLog(w.name)
	if err != nil {
		return fmt.Errorf("open access log: %w", err)
	}
	w.Flush()
	w.outMu.Lock()
	defer w.outMu.Unlock()
	old := w.out.(*os.File)
	w.out = f
	return old.Close()
}

// Dropped returns how many lines were left out because the disk was too slow.
func (w *Writer) Dropped() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Run writes lines until ctx ends, and then those that are left. What comes
// after that is written at once. It is a background service.
func (w *Writer) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	var warned time.Time
	var known int64 // lines left out that were warned of
	for {
		select {
		case <-tick.C:
		case <-w.wake:
		case <-ctx.Done():
			w.mu.Lock()
			w.ended = true
			w.mu.Unlock()
			w.Flush()
			return nil
		}
		w.Flush()
		if n, now := w.Dropped(), time.Now(); n > known && now.Sub(warned) >= warnEvery {
			w.logger.Warn("the access log is too slow; lines were left out", "lines", n-known)
			known, warned = n, now
		}
	}
}

// add takes a line. It waits only for other requests that copy theirs, some 10
// to 100 nanoseconds for each, and once in a while for the buffer to grow.
func (w *Writer) add(line []byte) {
	w.mu.Lock()
	if len(w.pending)+len(line) > maxPending {
		w.dropped++
		w.mu.Unlock()
		return
	}
	before := len(w.pending)
	w.pending = append(w.pending, line...)
	enough := before < flushAt && len(w.pending) >= flushAt
	ended := w.ended
	w.mu.Unlock()
	switch {
	case ended:
		w.Flush()
	case enough:
		select {
		case w.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// Flush writes all lines that are there, and waits until that is done.
func (w *Writer) Flush() {
	w.outMu.Lock()
	defer w.outMu.Unlock()
	w.mu.Lock()
	lines := w.pending
	w.pending = w.spare
	w.mu.Unlock()
	w.spare = nil
	if len(lines) > 0 {
		w.writeLocked(lines)
	}
	if cap(lines) <= maxKept {
		w.spare = lines[:0]
	}
}

// writeLocked writes lines, and logs the first failure in a row. Lines that
// cannot be written are lost.
func (w *Writer) writeLocked(lines []byte) {
	n, err := w.out.Write(lines)
	if err == nil && n < len(lines) {
		err = io.ErrShortWrite
	}
	if err != nil && !w.failed {
		w.logger.Error("the access log cannot be written; lines are lost", "err", err)
	}
	if err == nil && w.failed {
		w.logger.Info("the access log is written again")
	}
	w.failed = err != nil
}
