// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"syscall"
	"time"
)

// A Successor is the process that has taken over.
type Successor struct {
	Credentials
	Program string

	// Taken says for each socket of the cargo whether the successor has it now,
	// and accepts on it.
	Taken []bool
}

// HandOver waits for a new process to appear, hands it the cargo, and waits
// until it accepts connections. cargo is called when the new process is there,
// so that the state is as it is then. HandOver returns nil once the new one has
// confirmed that it has taken over: from then on this one must not accept any
// more on the sockets taken, nor remove their files.
//
// After an error, or when ctx has ended before the decision, the new process
// does not take over, and this one has lost nothing. The error is or wraps
// ErrNobody if no process appeared.
//
// The files of the cargo stay the caller's.
func HandOver(ctx context.Context, cfg Config, cargo func() (Cargo, error)) (*Successor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	cfg = cfg.withDefaults()
	c, cred, err := seek(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	defer c.Close()
	s := &Successor{Credentials: cred}
	if err := s.give(ctx, c, cfg, cargo); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if _, told := errors.AsType[errFailed](err); !told {
			c.sayFail(err)
		}
		return nil, fmt.Errorf("hand over to process %d: %w", cred.PID, err)
	}
	return s, nil
}

// seek connects to the new process, again and again until it is there.
func seek(ctx context.Context, cfg Config) (*conn, Credentials, error) {
	const pause = 20 * time.Millisecond
	giveUp := time.Now().Add(cfg.Wait)
	var foreign error // the last one; it says more than that now nobody is there
	for {
		c, cred, err := connect(ctx, cfg)
		if err == nil {
			return c, cred, nil
		}
		if errors.Is(err, errForeign) {
			foreign = err
		}
		err = cmp.Or(foreign, err)
		wait := min(pause, time.Until(giveUp))
		if wait <= 0 {
			return nil, Credentials{}, fmt.Errorf("%w at %s: %w", ErrNobody, cfg.Path, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, Credentials{}, context.Cause(ctx)
		}
	}
}

// errForeign is the reason to have nothing to do with a process.
var errForeign = errors.New("which may not")

// connect connects to the new process once, and checks who it is.
func connect(ctx context.Context, cfg Config) (*conn, Credentials, error) {
	d := net.Dialer{Timeout: time.Second}
	nc, err := d.DialContext(ctx, "unix", cfg.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Credentials{}, errors.New("there is no socket")
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, Credentials{}, errors.New("nobody waits at the socket")
	case err != nil:
		return nil, Credentials{}, err
	}
	c := &conn{UnixConn: nc.(*net.UnixConn)}
	cred, err := cfg.credentials(c)
	if err == nil && !cfg.mayBe(cred.UID) {
		err = fmt.Errorf("process %d there belongs to user %d, %w take over", cred.PID, cred.UID, errForeign)
	}
	if err != nil {
		c.Close()
		return nil, Credentials{}, err
	}
	return c, cred, nil
}

// give does the part of the old process.
func (s *Successor) give(ctx context.Context, c *conn, cfg Config, load func() (Cargo, error)) error {
	stop := c.until(ctx, helloTimeout)
	greeting, err := c.greet(cfg.Program)
	stop()
	if err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	s.Program = greeting.program

	cargo, err := load()
	if err == nil {
		err = cargo.validate()
	}
	if err != nil {
		return err
	}
	defer c.until(ctx, cargoTimeout)()
	if err := c.sendCargo(cargo); err != nil {
		return fmt.Errorf("send sockets and state: %w", err)
	}
	cfg.Logger.Info("sockets handed to the new process, which starts now", "pid", s.PID, "program", s.Program,
		"sockets", len(cargo.Sockets), "states", len(cargo.State))

	defer c.until(ctx, cfg.ReadyTimeout)()
	body, err := c.expect(ready)
	if err != nil {
		return readyError(err, cfg.ReadyTimeout)
	}
	taken, err := parseTaken(body, len(cargo.Sockets))
	if err != nil {
		return err
	}
	s.Taken = make([]bool, len(cargo.Sockets))
	for _, i := range taken {
		s.Taken[i] = true
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.send(yours, nil); err != nil {
		return readyError(err, cfg.ReadyTimeout)
	}
	// It is decided now, whatever ctx says.
	defer c.until(context.WithoutCancel(ctx), mineTimeout)()
	if _, err := c.expect(mine); err != nil {
		return readyError(err, mineTimeout)
	}
	return nil
}

// readyError says what it means that the new process has not confirmed.
func readyError(err error, limit time.Duration) error {
	nerr, ok := errors.AsType[net.Error](err)
	switch {
	case gone(err):
		return errors.New("it ended before it was ready")
	case ok && nerr.Timeout():
		return fmt.Errorf("it was not ready after %v", limit)
	}
	return err
}

// sendCargo sends sockets and states.
func (c *conn) sendCargo(cargo Cargo) error {
	for part := range slices.Chunk(cargo.Sockets, perMessage) {
		if err := c.sendSockets(part); err != nil {
			return err
		}
	}
	for name, data := range cargo.State {
		if err := c.sendState(name, data); err != nil {
			return err
		}
	}
	return c.send(end, counts{len(cargo.Sockets), len(cargo.State)}.append)
}
