// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxyerr"
)

// A muxSet holds the connections over HTTP/2 of one identity.
type muxSet struct {
	mu    sync.Mutex
	conns []*muxConn // guarded by mu
	dials []*muxDial // under way, for others to share; guarded by mu
	used  bool       // something was dialed since the last sweep; guarded by mu
	gone  bool       // the set keeps nothing: it is closed or forgotten; guarded by mu

	// What the peer chose last when it had the choice.
	choice   header.Proto // guarded by mu
	choiceAt time.Time    // zero if it has not chosen yet; guarded by mu
}

func newMuxSet(gone bool) *muxSet { return &muxSet{used: true, gone: gone} }

// protoMemory is how long the choice of a peer is taken for its next one.
const protoMemory = 10 * time.Minute

// A muxDial is a dial under way. Requests that come meanwhile wait for it, if
// the connection may become one that they can share.
type muxDial struct {
	waiting int           // guarded by the set's mu
	done    chan struct{} // closed when the dial has ended
	err     error         // why it failed for everybody; read it after done
}

func newMuxDial() *muxDial { return &muxDial{done: make(chan struct{})} }

// A muxConn is one connection.
type muxConn struct {
	*http2.ClientConn
	dialTime time.Duration
	once     bool // for one stream only
}

// A muxStream is one request on a muxConn.
type muxStream struct {
	*http2.ClientStream
	conn   *muxConn
	reused bool
	ended  bool
}

// takeLocked opens a stream on the first connection with room, so that few are
// full rather than many half empty. It returns nil if there is none.
func (s *muxSet) takeLocked(p *Peer, watch http1.Watcher) *muxStream {
	for _, c := range s.conns {
		if st := c.NewStream(watch, p.ReadTimeout, p.WriteTimeout); st != nil {
			return &muxStream{ClientStream: st, conn: c, reused: true}
		}
	}
	return nil
}

// A joined is what a request that needs a connection gets from a muxSet.
type joined struct {
	stream *muxStream // on a connection that has room meanwhile, or nil
	dial   *muxDial   // otherwise a dial, nil if the set is gone
	own    bool       // the request has to do that dial itself
	alone  bool       // and HTTP/1.1 is expected
}

// join finds a stream for a request or else a dial to wait for or to do. It
// counts on maxStreams on each connection that is being dialed, unless the peer
// has lately chosen HTTP/1.1.
func (s *muxSet) join(p *Peer, watch http1.Watcher, maxStreams int) joined {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return joined{}
	}
	s.used = true
	if st := s.takeLocked(p, watch); st != nil {
		return joined{stream: st}
	}
	own := newMuxDial()
	if s.choice == header.HTTP11 && s.rememberLocked(time.Now()) {
		return joined{dial: own, own: true, alone: true}
	}
	for _, d := range s.dials {
		if d.waiting < maxStreams-1 {
			d.waiting++
			return joined{dial: d}
		}
	}
	s.dials = append(s.dials, own)
	return joined{dial: own, own: true}
}

// rememberLocked reports whether the choice of the peer is known.
func (s *muxSet) rememberLocked(now time.Time) bool {
	return !s.choiceAt.IsZero() && now.Sub(s.choiceAt) < protoMemory
}

// chose notes what a peer has chosen, if it had the choice.
func (s *muxSet) chose(p *Peer, proto header.Proto) {
	if p.ALPN != ALPNH2HTTP1 {
		return
	}
	s.mu.Lock()
	s.choice, s.choiceAt = proto, time.Now()
	s.mu.Unlock()
}

// end tells those who wait for d how it has ended.
func (s *muxSet) end(d *muxDial) {
	s.mu.Lock()
	if i := slices.Index(s.dials, d); i >= 0 {
		s.dials = slices.Delete(s.dials, i, i+1)
	}
	s.mu.Unlock()
	close(d.done)
}

// add makes nc, newly dialed, a connection of the set, and opens its first
// stream. If the set keeps nothing the connection is for that stream only.
func (s *muxSet) add(c *Connector, p *Peer, nc net.Conn, dialTime time.Duration, watch http1.Watcher) (*muxStream, error) {
	conn := &muxConn{dialTime: dialTime}
	cfg := c.cfg.HTTP2
	cfg.IdleTimeout = cmp.Or(p.IdleTimeout, c.cfg.IdleTimeout)
	cfg.ReadTimeout, cfg.WriteTimeout = c.cfg.ReadTimeout, c.cfg.WriteTimeout
	cfg.OnClose = func(err error) {
		s.remove(conn)
		p.disconnected()
		c.cfg.HTTP2.OnClose(err)
	}
	scheme := "http"
	if p.TLS {
		scheme = "https"
	}
	s.mu.Lock()
	defer s.mu.Unlock() // remove waits until the connection is there
	conn.ClientConn = http2.NewClientConn(nc, &cfg, scheme)
	st := conn.NewStream(watch, p.ReadTimeout, p.WriteTimeout)
	if st == nil { // it has failed already
		return nil, &proxyerr.Error{Source: proxyerr.Upstream, Addr: p.Addr, Op: "open stream", Kind: proxyerr.ConnClosed, Retry: proxyerr.RetryAlways}
	}
	if conn.once = s.gone; !conn.once {
		s.conns = append(s.conns, conn)
	}
	return &muxStream{ClientStream: st, conn: conn}, nil
}

func (s *muxSet) remove(c *muxConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.conns, c); i >= 0 {
		s.conns = slices.Delete(s.conns, i, i+1)
	}
}

// forget reports whether s is of no use: nothing is there or was dialed since
// the last sweep, and there is nothing to remember, or too much in all. It
// marks the set, so that a request that holds it looks for the next one.
func (s *muxSet) forget(now time.Time, crowded bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	empty := len(s.conns) == 0 && len(s.dials) == 0 && !s.used
	s.used = false
	s.gone = empty && (crowded || !s.rememberLocked(now))
	return s.gone
}

// close makes s keep nothing from now on, and returns what it has kept.
func (s *muxSet) close() []*muxConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	return slices.Clone(s.conns) // they remove themselves
}

// NetConn returns the connection that the stream shares.
func (s *muxStream) NetConn() net.Conn { return s.conn.NetConn() }

// Proto returns HTTP/2.
func (s *muxStream) Proto() header.Proto { return header.HTTP2 }

// Reused reports whether the connection has carried a request before.
func (s *muxStream) Reused() bool { return s.reused }

// DialTime returns how long it took to make the connection.
func (s *muxStream) DialTime() time.Duration { return s.conn.dialTime }

// Release ends the use of the stream.
func (s *muxStream) Release(time.Time) { s.Discard() }

// Discard ends the use of the stream. The connection goes on if others may use
// it.
func (s *muxStream) Discard() {
	if s.ended {
		return
	}
	s.ended = true
	s.Finish()
	if s.conn.once {
		s.conn.Close()
	}
}
