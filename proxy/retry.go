// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/proxyerr"
)

// mayRetry decides whether another attempt may follow one that failed with
// err. It may if
//   - nothing has been sent to the client, and it is still there,
//   - attempts are left,
//   - the request body can be sent again, and
//   - the request cannot have been acted upon, or acting twice is the same as
//     once: a failed connect lets any request through, a connection that ended
//     without an answer only idempotent ones (RFC 9110 section 9.2.2). Whether
//     the connection was new or from the pool does not matter to that.
//
// What may have reached a peer also needs a place in the retry budget: see
// overBudget.
func (x *exchange) mayRetry(err error) bool {
	e, ok := errors.AsType[*proxyerr.Error](err)
	if !ok || x.down.HeadSent() || x.attempt > x.proxy.cfg.MaxRetries || x.replay.lost || x.conn.killed.Load() {
		return false
	}
	return proxyerr.CanRetry(e, x.down.Request().Idempotent())
}

// overBudget takes a place in the retry budget for the attempt that follows
// err. If there is none left it returns the error to end with, otherwise nil.
func (x *exchange) overBudget(err error) error {
	e, _ := errors.AsType[*proxyerr.Error](err)
	if e.Retry == proxyerr.RetryAlways || x.proxy.budget.take(time.Now()) {
		return nil
	}
	return &proxyerr.Error{Source: e.Source, Op: "retry", Kind: proxyerr.BudgetExhausted, Status: StatusOf(e), Err: err}
}

// prepareRetry notes a failed attempt before the next one.
func (x *exchange) prepareRetry(err error) {
	if x.peer != nil {
		x.tried = append(x.tried, x.peer)
	}
	x.hasResponse = false
	x.waitErr = nil
	x.res.Reset()
	log := x.proxy.cfg.Logger
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	if n, ok := x.proxy.logLimit.allow(); ok {
		log.Debug("attempt failed, trying again", "attempt", x.attempt, "err", err,
			"request", x.summary(), "suppressed", n)
	}
}

// budgetWindow is the time over which a retryBudget counts.
const budgetWindow = 10 * time.Second

// retryBudget counts requests and retries in two halves of a window: the
// current one and the one before.
type retryBudget struct {
	percent, min int64 // min is per window

	requests atomic.Int64 // of the current half

	mu       sync.Mutex
	start    time.Time // of the current half; guarded by mu
	previous int64     // requests of the half before; guarded by mu
	retries  [2]int64  // of the current half and the one before; guarded by mu
}

func (b *retryBudget) init(cfg RetryBudget) {
	b.percent = max(int64(cfg.Percent), 0)
	b.min = max(int64(cfg.MinPerSecond), 0) * int64(budgetWindow/time.Second)
	b.start = time.Now()
}

// request counts a request.
func (b *retryBudget) request() { b.requests.Add(1) }

// take takes the right to one retry. It returns false if there is none left.
func (b *retryBudget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rotateLocked(now)
	allowed := b.min + (b.requests.Load()+b.previous)*b.percent/100
	if b.retries[0]+b.retries[1] >= allowed {
		return false
	}
	b.retries[0]++
	return true
}

// rotateLocked begins a new half of the window if it is time.
func (b *retryBudget) rotateLocked(now time.Time) {
	age := now.Sub(b.start)
	if age < budgetWindow/2 {
		return
	}
	// The current half may have lasted for long, as only retries end it: what
	// counts is its rate.
	current := b.requests.Swap(0)
	b.previous = int64(float64(current) * float64(budgetWindow/2) / float64(age))
	b.retries = [2]int64{0, b.retries[0]}
	if age >= budgetWindow {
		b.retries[1] = 0
	}
	b.start = now
}

// maxLogLines is how many lines about single requests a proxy logs per second.
const maxLogLines = 20

// A logLimiter keeps a failing backend from filling the disk.
type logLimiter struct {
	second     atomic.Int64
	lines      atomic.Int64
	suppressed atomic.Int64
}

// allow reports whether a line may be written now, and how many have been
// suppressed since the last one that was.
func (l *logLimiter) allow() (suppressed int64, ok bool) {
	second := time.Now().Unix()
	if old := l.second.Load(); old != second && l.second.CompareAndSwap(old, second) {
		l.lines.Store(0)
	}
	if l.lines.Add(1) > maxLogLines {
		l.suppressed.Add(1)
		return 0, false
	}
	return l.suppressed.Swap(0), true
}
