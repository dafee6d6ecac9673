// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"cmp"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

const haveSplice = true

// pipeSize is how much one call of Splice moves at most, in bytes. The system
// may give less.
const pipeSize = 1 << 20

// Splice moves what src has, at most n bytes, to dst without copying it
// through the program. If src has nothing it waits until the armed read
// deadline. taken, if not nil, is called with the number of bytes that src has
// given, before dst gets them. Each wait for dst to take more is bounded by
// timeout; zero and negative mean no bound. src must not be inside Loop.
//
// It returns the number of bytes that dst has taken, and io.EOF at the end of
// src. An error of dst is a *SpliceWriteError; then bytes that src has
// delivered may be lost.
func Splice(dst, src *Conn, n int64, taken func(n int), timeout time.Duration) (moved int64, err error) {
	p, err := src.spliceIn(int(min(n, pipeSize)))
	switch err {
	case nil:
	case errNoPipe, syscall.EINVAL, syscall.ENOSYS:
		return copyPiece(dst, src, n, taken, timeout)
	default:
		return 0, err
	}
	if taken != nil {
		taken(p.held)
	}
	moved, err = dst.spliceOut(p, timeout)
	p.give()
	return moved, err
}

// errNoPipe is returned by spliceIn when there is no descriptor left.
var errNoPipe = errors.New("netio: no pipe")

// spliceIn waits until c has something, and returns a pipe with up to n bytes
// of it. No pipe is taken while it waits: there may be many slow sources, and a
// pipe is two descriptors.
func (c *Conn) spliceIn(n int) (p *pipe, err error) {
	waitErr := c.raw.Read(func(fd uintptr) (done bool) {
		if p = takePipe(); p == nil {
			err = errNoPipe
			return true
		}
		p.held, err = splice(int(fd), p.w, n)
		if err == nil && p.held == 0 {
			err = io.EOF
		}
		if err != nil {
			p.give()
			p = nil
		}
		return err != ErrAgain
	})
	return p, cmp.Or(waitErr, err)
}

// spliceOut empties p into c.
func (c *Conn) spliceOut(p *pipe, timeout time.Duration) (moved int64, err error) {
	waitErr := c.raw.Write(func(fd uintptr) (done bool) {
		c.endWait()
		for p.held > 0 {
			var n int
			n, err = splice(p.r, int(fd), p.held)
			if err == ErrAgain {
				if err = c.beginWait(timeout); err == nil {
					return false
				}
			}
			if err != nil {
				return true
			}
			c.writePace.Moved(n)
			p.held -= n
			moved += int64(n)
		}
		return true
	})
	if err := cmp.Or(waitErr, err); err != nil {
		return moved, &SpliceWriteError{err}
	}
	c.disarmWrite()
	return moved, nil
}

// splice calls the system call of that name.
func splice(from, to, n int) (int, error) {
	for {
		k, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch err {
		case nil:
			return int(k), nil
		case syscall.EAGAIN:
			return 0, ErrAgain
		case syscall.EINVAL, syscall.ENOSYS:
			return 0, err
		case syscall.EINTR:
		default:
			return 0, os.NewSyscallError("splice", err)
		}
	}
}

// copyPiece is Splice through a buffer.
func copyPiece(dst, src *Conn, n int64, taken func(n int), timeout time.Duration) (moved int64, err error) {
	buf := bytebuf.Get(bytebuf.Large)
	defer buf.Release()
	k, err := src.nc.Read(buf.B[:min(n, int64(cap(buf.B)))])
	if err != nil {
		return 0, err
	}
	if taken != nil {
		taken(k)
	}
	k, err = dst.Write(buf.B[:k], nil, nil, timeout)
	if err != nil {
		err = &SpliceWriteError{err}
	}
	return int64(k), err
}

// A pipe is where bytes stay on their way.
type pipe struct {
	r, w    int
	held    int // bytes in it
	cleanup runtime.Cleanup
}

// pipes keeps empty pipes. The collector closes what it takes from here.
var pipes sync.Pool

// takePipe returns an empty pipe, or nil if the system has none left.
func takePipe() *pipe {
	if p, ok := pipes.Get().(*pipe); ok {
		return p
	}
	var fd [2]int
	if unix.Pipe2(fd[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	// A smaller pipe will do: the limit for all pipes of a user may be reached.
	_, _ = unix.FcntlInt(uintptr(fd[1]), unix.F_SETPIPE_SZ, pipeSize)
	p := &pipe{r: fd[0], w: fd[1]}
	p.cleanup = runtime.AddCleanup(p, closePipe, fd)
	return p
}

// give lets go of p: for reuse if it is empty.
func (p *pipe) give() {
	if p.held == 0 {
		pipes.Put(p)
		return
	}
	p.cleanup.Stop()
	closePipe([2]int{p.r, p.w})
}

func closePipe(fd [2]int) {
	unix.Close(fd[0])
	unix.Close(fd[1])
}
