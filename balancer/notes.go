// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// note is a change of health to be told.
type note struct {
	backend Backend
	healthy bool
	err     error // why not healthy
}

// notes is a queue between the health checks, which must not wait, and
// OnChange and the log, which may.
type notes struct {
	wake chan struct{} // holds one value while there may be notes

	mu    sync.Mutex
	queue []note // guarded by mu
}

func (q *notes) add(more []note) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, more...)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *notes) take() []note {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.queue
	q.queue = nil
	return taken
}

// deliverNotes tells of changes, in order, until ctx ends and none is left.
func (b *Balancer) deliverNotes(ctx context.Context) {
	for {
		for _, n := range b.notes.take() {
			b.tell(n)
		}
		select {
		case <-b.notes.wake:
		case <-ctx.Done():
			for _, n := range b.notes.take() {
				b.tell(n)
			}
			return
		}
	}
}

func (b *Balancer) tell(n note) {
	if n.healthy {
		b.cfg.Logger.Info("backend is healthy again", "backend", n.backend.Addr)
	} else {
		b.cfg.Logger.Warn("backend is unhealthy", "backend", n.backend.Addr, "err", n.err)
	}
	if b.cfg.OnChange == nil {
		return
	}
	defer func() { // the backends behind this one are to be told of, too
		if v := recover(); v != nil {
			b.cfg.Logger.Error("panic in OnChange", "backend", n.backend.Addr, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	b.cfg.OnChange(n.backend, n.healthy)
}

// errorLog logs the failures of an action that is tried again and again, at
// most one each errorLogPeriod, and the end of a series that was logged.
type errorLog struct {
	logger  *slog.Logger
	failed  int       // in a row
	skipped int       // of these, the ones since the last that was logged
	logged  time.Time // when the last was logged
}

func (l *errorLog) record(err error) {
	if err == nil {
		if l.failed > l.skipped {
			l.logger.Info("discovery works again", "failures", l.failed)
		}
		l.failed, l.skipped = 0, 0
		return
	}
	l.failed++
	if time.Since(l.logged) < errorLogPeriod {
		l.skipped++
		return
	}
	l.logger.Warn("discovery failed, keeping the set of backends", "err", err, "failures", l.failed, "not_logged", l.skipped)
	l.skipped = 0
	l.logged = time.Now()
}
