// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A conn carries messages and descriptors between two processes.
type conn struct {
	*net.UnixConn
	in    []byte     // received and not consumed
	files []*os.File // received and not claimed by a message
	body  []byte     // of the last message, reused
}

// errFailed is the error of a process that the other one has told that it
// failed.
type errFailed struct{ reason string }

func (e errFailed) Error() string { return "the other process failed: " + e.reason }

// until makes all reads and writes fail at the deadline, or when ctx ends. The
// function that it returns ends that.
func (c *conn) until(ctx context.Context, limit time.Duration) (stop func()) {
	c.SetDeadline(time.Now().Add(limit))
	end := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return func() { end() }
}

// send sends a message, with files or none.
func (c *conn) send(k kind, body func([]byte) []byte, files ...*os.File) error {
	msg := appendMessage(nil, k, body)
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd())) // does not change O_NONBLOCK: see listener.Listener.File
		}
		rights = unix.UnixRights(fds...)
	}
	n, _, err := c.WriteMsgUnix(msg, rights, nil)
	if err == nil && n < len(msg) {
		_, err = c.Write(msg[n:])
	}
	return err
}

// receive returns the next message. Its content is valid until the next call.
// A fail is returned as an error.
func (c *conn) receive() (kind, []byte, error) {
	for {
		k, body, n := consumeMessage(c.in)
		switch {
		case n < 0:
			return 0, nil, fmt.Errorf("message of more than %d bytes", MaxMessage)
		case n > 0:
			c.body = append(c.body[:0], body...)
			c.in = append(c.in[:0], c.in[n:]...)
			if k == fail {
				return 0, nil, errFailed{fmt.Sprintf("%.*q", maxReason, c.body)}
			}
			return k, c.body, nil
		}
		if err := c.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// expect receives a message that must be of kind want.
func (c *conn) expect(want kind) ([]byte, error) {
	k, body, err := c.receive()
	if err == nil && k != want {
		err = fmt.Errorf("message of kind %d, want %d", k, want)
	}
	return body, err
}

// fill receives some bytes and the files that come with them.
func (c *conn) fill() error {
	b := make([]byte, 32<<10)
	oob := make([]byte, unix.CmsgSpace(4*maxRights))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return err
	}
	if err := c.keep(oob[:oobn]); err != nil {
		return err
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return errors.New("descriptors were lost: the limit on open files is too low")
	}
	if n == 0 {
		return io.ErrUnexpectedEOF
	}
	c.in = append(c.in, b[:n]...)
	return nil
}

// maxRights is the most descriptors that a system delivers with one message.
const maxRights = 253

// keep notes the files in control messages. They have been opened in this
// process in any case, so that even after an error all must be known.
func (c *conn) keep(oob []byte) error {
	if len(oob) == 0 {
		return nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("control message: %w", err)
	}
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // of another type
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd) // where the system could not do it by itself
			if err := unix.SetNonblock(fd, true); err != nil {
				unix.Close(fd)
				return os.NewSyscallError("set O_NONBLOCK", err)
			}
			c.files = append(c.files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	if len(c.files) > 2*maxRights {
		return errors.New("descriptors came without names")
	}
	return nil
}

// claim returns the n files that have come with a message. Those of the next
// message may have come already, if the system has read its first byte
// together with the end of this one.
func (c *conn) claim(n int) ([]*os.File, error) {
	if len(c.files) < n {
		return nil, fmt.Errorf("%d names came with %d descriptors", n, len(c.files))
	}
	files := c.files[:n]
	c.files = c.files[n:]
	return files, nil
}

// Close closes the connection and the files that nobody has claimed.
func (c *conn) Close() error {
	for _, f := range c.files {
		f.Close()
	}
	c.files = nil
	return c.UnixConn.Close()
}

// sayFail tells the other process, if it still listens, that it was in vain.
func (c *conn) sayFail(err error) {
	c.SetDeadline(time.Now().Add(time.Second))
	reason := err.Error()
	c.send(fail, func(b []byte) []byte { return append(b, reason[:min(len(reason), maxReason)]...) })
}

// greet exchanges hellos and returns that of the other process.
func (c *conn) greet(program string) (greeting, error) {
	program = program[:min(len(program), MaxName)]
	if err := c.send(hello, greeting{version, program}.append); err != nil {
		return greeting{}, err
	}
	body, err := c.expect(hello)
	if err != nil {
		return greeting{}, err
	}
	return parseGreeting(body)
}

// gone reports whether err says that the other process has closed the
// connection, which it does by ending, too.
func gone(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// sendSockets sends sockets, perMessage at most.
func (c *conn) sendSockets(part []Socket) error {
	var labels []label
	var files []*os.File
	for _, s := range part {
		labels = append(labels, label{s.Name, s.Addr, s.Shared})
		files = append(files, s.File)
	}
	return c.send(sockets, func(b []byte) []byte { return appendLabels(b, labels) }, files...)
}

// sendState sends a state in pieces.
func (c *conn) sendState(name string, data []byte) error {
	const most = MaxMessage - MaxName - 8
	for {
		n := min(len(data), most)
		p := piece{name: name, last: n == len(data), data: data[:n]}
		if err := c.send(state, p.append); err != nil || p.last {
			return err
		}
		data = data[n:]
	}
}
