// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/belay-proxy/belay/header"
)

// errInterrupted is returned by a wait that another goroutine has ended.
var errInterrupted = errors.New("http2: interrupted")

// errEnded is returned when a program writes more than it has announced.
var errEnded = errors.New("http2: write after the end of the stream")

// A ResetError says that a stream has been ended before its time.
type ResetError struct {
	Code   ErrCode
	GoAway bool // by a GOAWAY that does not cover the stream
	Local  bool // by us, not by the peer
}

// Error returns, for example, "http2: stream reset by peer: CANCEL".
func (e *ResetError) Error() string {
	switch {
	case e.GoAway:
		return "http2: stream not taken: GOAWAY"
	case e.Local:
		return "http2: stream ended: " + e.Code.String()
	}
	return "http2: stream reset by peer: " + e.Code.String()
}

// A GoAwayError says that the peer has ended the connection with an error.
type GoAwayError struct {
	Code  ErrCode
	Debug string // what the peer said about it, cut to 200 bytes
}

// Error returns, for example, "http2: connection ended by peer:
// ENHANCE_YOUR_CALM".
func (e *GoAwayError) Error() string {
	if e.Debug != "" {
		return fmt.Sprintf("http2: connection ended by peer: %v: %q", e.Code, e.Debug)
	}
	return "http2: connection ended by peer: " + e.Code.String()
}

// isGone reports whether err says that the peer or its connection is gone.
func isGone(err error) bool {
	switch err.(type) {
	case *ResetError, *GoAwayError, *lostError:
		return true
	}
	return err == io.ErrUnexpectedEOF
}

// A stream is what both roles have in common.
type stream struct {
	c  *conn
	id uint32

	// Guarded by c.mu.
	sendWindow   int64
	recvWindow   int64 // what the peer may still send
	recvMax      int64 // what the window is when nothing is unread
	recvUnsent   int64 // consumed and not yet given back
	lastGrow     time.Time
	queue        dataQueue // received and not yet read
	headDone     bool      // a final head has been received
	remoteClosed bool      // END_STREAM has been received
	localClosed  bool      // END_STREAM has been sent
	err          error     // why the stream ended before its time
	interrupted  bool
	left         int64 // of the declared content-length; negative if unknown
	trailersRecv header.Fields
	priority                        // among the streams that wait
	queued       bool               // in c.waiting
	pending      []byte             // data of a writer that waits; nil if there is none
	pendingEnd   bool               // it is the last of the stream
	blocked      bool               // the writer sleeps
	heads        []*header.Response // client: received and not yet read
	infos        int                // client: informational heads received
	infoBytes    int                // client: their size
	method       string             // client: of the request

	readable chan struct{} // has a value when something to read may have come
	writable chan struct{} // likewise when something has been written

	received int64 // the reader's own
}

// init prepares a stream for use, or for another one. Its windows are set when
// it is opened.
func (s *stream) init(c *conn, id uint32) {
	*s = stream{c: c, id: id, priority: priority{urgency: defaultUrgency}, left: -1, queue: s.queue, readable: s.readable, writable: s.writable}
	if s.readable == nil {
		s.readable = make(chan struct{}, 1)
		s.writable = make(chan struct{}, 1)
	}
	drain(s.readable)
	drain(s.writable)
}

// openLocked makes s one of the streams of its connection.
func (s *stream) openLocked() {
	c := s.c
	s.sendWindow = c.peer.initialWindow
	s.recvWindow = int64(c.cfg.StreamWindow)
	s.recvMax = s.recvWindow
	c.streams[s.id] = s
}

// endRemoteLocked notes that the peer sends no more on the stream.
func (s *stream) endRemoteLocked() {
	s.remoteClosed = true
	if s.localClosed {
		s.c.removeLocked(s)
	}
	signal(s.readable)
}

// endLocalLocked notes that we send no more on the stream.
func (s *stream) endLocalLocked() {
	s.localClosed = true
	if s.remoteClosed {
		s.c.removeLocked(s)
	}
}

// failLocked ends the stream with an error. What has been received can still
// be read, all of it if the peer had ended its side before.
func (s *stream) failLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.c.removeLocked(s)
	signal(s.readable)
	signal(s.writable)
}

// reset ends the stream from our side, unless it has ended already: with the
// code cut if we have not sent everything, with the code rest if it is only the
// peer that has more to send.
func (s *stream) reset(cut, rest ErrCode) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] != s {
		return
	}
	code := cut
	if s.localClosed {
		code = rest
	}
	c.noteResetLocked(s.id)
	c.controlLocked(func(b []byte) []byte { return appendRSTStream(b, s.id, code) })
	s.failLocked(&ResetError{Code: code, Local: true})
}

// finish gives back what the stream holds, when its user is done.
func (s *stream) finish() {
	c := s.c
	c.mu.Lock()
	if unread := s.queue.release(); unread > 0 {
		c.giveBackLocked(nil, int64(unread))
	}
	s.ungrowLocked()
	c.mu.Unlock()
}
