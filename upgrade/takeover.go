// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// A Predecessor is the process that hands over. Either Confirm or Abort ends
// the upgrade; both free what it holds, apart from the files of the cargo.
type Predecessor struct {
	Credentials
	Program string

	// Cargo is what it hands over. Its files belong to the caller.
	Cargo Cargo

	cfg     Config
	conn    *conn
	meeting *meeting
}

// TakeOver waits for the old process to appear, and receives its cargo. The
// error is or wraps ErrNobody if it did not appear, and ErrBusy if another new
// process waits for it already.
//
// A socket that a failed upgrade has left at Config.Path is replaced. Another
// user's socket, or a file that is not a socket, is an error.
func TakeOver(ctx context.Context, cfg Config) (*Predecessor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	cfg = cfg.withDefaults()
	m, err := meet(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	p := &Predecessor{cfg: cfg, meeting: m}
	if err := p.wait(ctx); err != nil {
		p.close()
		return nil, fmt.Errorf("take over: %w", err)
	}
	return p, nil
}

// close frees the connection and the upgrade socket.
func (p *Predecessor) close() {
	if p.conn != nil {
		p.conn.Close()
	}
	p.meeting.close()
}

// wait waits for the old process and receives its cargo. Others that connect,
// such as a process that looks whether somebody waits here, are sent away.
func (p *Predecessor) wait(ctx context.Context) error {
	limit := p.cfg.Wait
	if limit < 0 {
		limit = time.Second
	}
	p.meeting.ln.SetDeadline(time.Now().Add(limit))
	defer context.AfterFunc(ctx, func() { p.meeting.ln.SetDeadline(time.Unix(1, 0)) })()
	for {
		uc, err := p.meeting.ln.AcceptUnix()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() {
			err = fmt.Errorf("%w at %s within %v", ErrNobody, p.cfg.Path, limit)
		}
		if err != nil {
			return err
		}
		p.conn = &conn{UnixConn: uc}
		if err := p.welcome(ctx); err != nil {
			p.conn.Close()
			p.conn = nil
			if !gone(err) {
				p.cfg.Logger.Warn("a connection to the upgrade socket was refused", "err", err)
			}
			continue
		}
		if err := p.receive(ctx); err != nil {
			if gone(err) {
				err = errors.New("it ended before it had handed over everything")
			}
			p.Cargo.Close()
			p.conn.sayFail(err)
			return fmt.Errorf("receive from process %d: %w", p.PID, err)
		}
		return nil
	}
}

// welcome finds out who has connected.
func (p *Predecessor) welcome(ctx context.Context) (err error) {
	if p.Credentials, err = p.cfg.credentials(p.conn); err != nil {
		return err
	}
	if !p.cfg.mayBe(p.UID) {
		return fmt.Errorf("process %d belongs to user %d, %w hand over", p.PID, p.UID, errForeign)
	}
	defer p.conn.until(ctx, helloTimeout)()
	greeting, err := p.conn.greet(p.cfg.Program)
	p.Program = greeting.program
	return err
}

// receive receives the cargo.
func (p *Predecessor) receive(ctx context.Context) error {
	defer p.conn.until(ctx, cargoTimeout)()
	r := receiver{conn: p.conn, cargo: &p.Cargo, open: make(map[string]bool)}
	for {
		k, body, err := p.conn.receive()
		if err == nil {
			err = r.take(k, body)
		}
		if err != nil {
			return err
		}
		if k == end {
			return nil
		}
	}
}

// A receiver puts a cargo together.
type receiver struct {
	conn  *conn
	cargo *Cargo
	open  map[string]bool // states of which pieces are missing
	sum   int             // bytes of state
}

// take takes one message.
func (r *receiver) take(k kind, body []byte) error {
	switch k {
	case sockets:
		return r.takeSockets(body)
	case state:
		return r.takeState(body)
	case end:
		return r.check(body)
	}
	return fmt.Errorf("message of kind %d among sockets and states", k)
}

func (r *receiver) takeSockets(body []byte) error {
	labels, err := parseLabels(body)
	if err != nil {
		return err
	}
	files, err := r.conn.claim(len(labels))
	if err != nil {
		return err
	}
	for i, l := range labels {
		r.cargo.Sockets = append(r.cargo.Sockets, Socket{Name: l.name, Addr: l.addr, File: files[i], Shared: l.shared})
	}
	if len(r.cargo.Sockets) > MaxSockets {
		return fmt.Errorf("more than %d sockets", MaxSockets)
	}
	return nil
}

func (r *receiver) takeState(body []byte) error {
	p, err := parsePiece(body)
	if err != nil {
		return err
	}
	if r.cargo.State == nil {
		r.cargo.State = make(map[string][]byte)
	}
	have, known := r.cargo.State[p.name]
	switch r.sum += len(p.data); {
	case known && !r.open[p.name]:
		return fmt.Errorf("state %q came twice", p.name)
	case !known && len(r.cargo.State) == MaxStates:
		return fmt.Errorf("more than %d states", MaxStates)
	case len(have)+len(p.data) > MaxState || r.sum > MaxStateSum:
		return fmt.Errorf("state %q is too long", p.name)
	}
	r.cargo.State[p.name] = append(have, p.data...)
	r.open[p.name] = !p.last
	return nil
}

// check compares what has come with what has been sent.
func (r *receiver) check(body []byte) error {
	sent, err := parseCounts(body)
	got := counts{len(r.cargo.Sockets), len(r.cargo.State)}
	switch {
	case err != nil:
		return err
	case sent != got || len(r.conn.files) > 0:
		return fmt.Errorf("%d sockets and %d states came, want %d and %d", got.sockets, got.states, sent.sockets, sent.states)
	}
	for name, missing := range r.open {
		if missing {
			return fmt.Errorf("the end of state %q is missing", name)
		}
	}
	return nil
}

// Confirm says that this process can accept connections on the sockets of the
// cargo with the numbers taken, and waits for the decision of the old one. It
// returns nil if this process has taken over, and is to accept now, not before:
// what a process accepts that then fails is lost. That is so, too, if the old one
// has ended meanwhile. After an error this process must not go on: the old one
// serves.
//
// decided, if not nil, is called once this process has taken over, as far as it
// knows, and before the old one knows: the old one does not end before decided
// has returned. It must be quick: if it takes more than ten seconds, the old
// process gives up and serves on. Then Confirm returns an error though decided
// has been called, and what that has done is to be undone.
func (p *Predecessor) Confirm(ctx context.Context, taken []int, decided func()) error {
	defer p.close()
	err := p.await(ctx, taken)
	alone := gone(err)
	if err != nil && !alone {
		if _, told := errors.AsType[errFailed](err); !told {
			p.conn.sayFail(err)
		}
		return fmt.Errorf("take over: %w", err)
	}
	p.cfg.Logger.Debug("the old process has decided: this one takes over", "pid", p.PID)
	if decided != nil {
		decided()
	}
	if alone {
		p.cfg.Logger.Warn("the old process ended during the upgrade; this one serves alone now", "pid", p.PID)
		return nil
	}
	return p.receipt()
}

// await says that this process is ready and waits until the old one says that
// the sockets are its own. The error is as gone has it if that has ended.
func (p *Predecessor) await(ctx context.Context, taken []int) error {
	defer p.conn.until(ctx, p.cfg.ReadyTimeout)()
	err := p.conn.send(ready, func(b []byte) []byte { return appendTaken(b, slices.Sorted(slices.Values(taken))) })
	p.cfg.Logger.Debug("ready; the old process decides", "pid", p.PID)
	if err == nil || gone(err) { // there may still be a reason to read
		_, err = p.conn.expect(yours)
	}
	nerr, isNet := errors.AsType[net.Error](err)
	switch {
	case err == nil || gone(err):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isNet && nerr.Timeout():
		return fmt.Errorf("process %d did not answer within %v", p.PID, p.cfg.ReadyTimeout)
	}
	return err
}

// receipt says that this process has taken over, and waits until the old one
// has read that: then it closes the connection. The error is what the old one
// says if the receipt has come too late for it.
func (p *Predecessor) receipt() error {
	p.conn.SetDeadline(time.Now().Add(mineTimeout))
	err := p.conn.send(mine, nil)
	if err == nil || gone(err) { // there may be a reason to read
		_, _, err = p.conn.receive()
	}
	if _, told := errors.AsType[errFailed](err); told {
		return fmt.Errorf("take over: too late: %w", err)
	}
	if !gone(err) {
		p.cfg.Logger.Warn("the old process does not say that it knows of its replacement", "pid", p.PID, "err", err)
	}
	return nil
}

// Abort tells the old process that this one failed, and why.
func (p *Predecessor) Abort(err error) {
	defer p.close()
	p.conn.sayFail(err)
}
