// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/bytebuf"
)

// patience bounds every wait that should end long before.
const patience = 20 * time.Second

// raceEnabled tells a build with the race detector: there buffers are counted.
var raceEnabled = func() bool {
	b := bytebuf.Get(1)
	defer b.Release()
	return bytebuf.Outstanding() != 0
}()

// transports are the kinds of connection that tests run on.
var transports = []struct {
	name string
	pair func(testing.TB) (peer, ours net.Conn)
}{
	{"tcp", tcpPair},
	{"pipe", pipePair},
}

// eachTransport runs a test on every kind of connection.
func eachTransport(t *testing.T, test func(t *testing.T, peer, ours net.Conn)) {
	t.Helper()
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			peer, ours := tr.pair(t)
			test(t, peer, ours)
		})
	}
}

// tcpPair returns the two ends of a connection over loopback.
func tcpPair(t testing.TB) (peer, ours net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if peer, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close(); ours.Close() })
	return peer, ours
}

// pipePair returns the two ends of a connection in memory.
func pipePair(t testing.TB) (peer, ours net.Conn) {
	t.Helper()
	peer, ours = net.Pipe()
	t.Cleanup(func() { peer.Close(); ours.Close() })
	return peer, ours
}

// A frame is one that the peer of the connection under test has received.
type frame struct {
	frameHeader
	payload []byte
	fields  string // of HEADERS, decoded: "name=value" joined by spaces
}

// String describes what tests compare.
func (f frame) String() string {
	switch f.typ {
	case frameData:
		return fmt.Sprintf("DATA %d %d %q", f.stream, f.flags, f.payload)
	case frameHeaders:
		return fmt.Sprintf("HEADERS %d %d %s", f.stream, f.flags, f.fields)
	case frameRSTStream:
		return fmt.Sprintf("RST_STREAM %d %v", f.stream, ErrCode(be32(f.payload)))
	case frameGoAway:
		return fmt.Sprintf("GOAWAY %d %v", be32(f.payload), ErrCode(be32(f.payload[4:])))
	case frameWindowUpdate:
		return fmt.Sprintf("WINDOW_UPDATE %d %d", f.stream, be32(f.payload))
	case framePing:
		return fmt.Sprintf("PING %d %q", f.flags, f.payload)
	case frameSettings:
		return fmt.Sprintf("SETTINGS %d", f.flags)
	}
	return fmt.Sprintf("frame %d on %d", f.typ, f.stream)
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// A rawPeer speaks to the connection under test frame by frame. A goroutine
// receives, so that it never blocks the other side.
type rawPeer struct {
	t   testing.TB
	nc  net.Conn
	enc *hpack.Encoder
	buf bytes.Buffer // of enc

	mu     sync.Mutex
	frames []frame       // guarded by mu: received and not yet taken
	err    error         // guarded by mu: why receiving ended
	more   chan struct{} // has a value when frames or err has changed
	done   chan struct{} // receiving has ended
	end    time.Time     // when; read it after done

	patience time.Duration
}

// newRawPeer returns a peer that has sent nothing yet.
func newRawPeer(t testing.TB, nc net.Conn) *rawPeer {
	p := &rawPeer{t: t, nc: nc, more: make(chan struct{}, 1), done: make(chan struct{}), patience: patience}
	if _, ok := nc.(*net.TCPConn); !ok {
		p.patience = 1000 * time.Hour // on a fake clock
	}
	p.enc = hpack.NewEncoder(&p.buf)
	go p.receive()
	return p
}

func (p *rawPeer) receive() {
	defer close(p.done)
	dec := hpack.NewDecoder(4096, nil)
	var head [frameHeaderLen]byte
	for {
		_, err := io.ReadFull(p.nc, head[:])
		var f frame
		if err == nil {
			f.frameHeader, _ = consumeFrameHeader(head[:])
			f.payload = make([]byte, f.length)
			_, err = io.ReadFull(p.nc, f.payload)
		}
		if f.typ == frameHeaders && err == nil {
			fields, derr := dec.DecodeFull(f.payload)
			var list []string
			for _, field := range fields {
				if field.Name != "date" {
					list = append(list, field.Name+"="+field.Value)
				}
			}
			f.fields = strings.Join(list, " ")
			err = derr
		}
		p.mu.Lock()
		if p.err = err; err == nil {
			p.frames = append(p.frames, f)
		} else {
			p.end = time.Now()
		}
		p.mu.Unlock()
		signal(p.more)
		if err != nil {
			return
		}
	}
}

// send writes frames. It may fail: the other side may have hung up.
func (p *rawPeer) send(b []byte) error {
	_, err := p.nc.Write(b)
	return err
}

// next returns the next frame that is not a SETTINGS or WINDOW_UPDATE on the
// connection, or ok == false if the connection has ended.
func (p *rawPeer) next() (f frame, ok bool) {
	p.t.Helper()
	for {
		f, ok = p.nextAny()
		if !ok || f.typ != frameSettings && (f.typ != frameWindowUpdate || f.stream != 0) {
			return f, ok
		}
	}
}

func (p *rawPeer) nextAny() (f frame, ok bool) {
	p.t.Helper()
	timeout := time.NewTimer(p.patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		if len(p.frames) > 0 {
			f, p.frames = p.frames[0], p.frames[1:]
			p.mu.Unlock()
			return f, true
		}
		err := p.err
		p.mu.Unlock()
		if err != nil {
			return frame{}, false
		}
		select {
		case <-p.more:
		case <-timeout.C:
			p.t.Fatal("no frame came")
		}
	}
}

// want checks the next frames, SETTINGS and WINDOW_UPDATE on the connection
// apart. "end" stands for the end of the connection.
func (p *rawPeer) want(want ...string) {
	p.t.Helper()
	for _, w := range want {
		got := "end"
		if f, ok := p.next(); ok {
			got = f.String()
		}
		if got != w {
			p.t.Fatalf("got %s, want %s", got, w)
		}
	}
}

// until skips frames up to one whose description starts with prefix, and
// returns that, or "end".
func (p *rawPeer) until(prefix string) string {
	p.t.Helper()
	for {
		f, ok := p.next()
		if !ok {
			return "end"
		}
		if s := f.String(); strings.HasPrefix(s, prefix) {
			return s
		}
	}
}

// ended waits for the end of the connection and returns the last GOAWAY
// before it, "" if there was none.
func (p *rawPeer) ended() (goAway string) {
	p.t.Helper()
	for {
		f, ok := p.next()
		if !ok {
			return goAway
		}
		if f.typ == frameGoAway {
			goAway = ErrCode(be32(f.payload[4:])).String()
		}
	}
}

// block encodes fields, given as "name=value".
func (p *rawPeer) block(fields ...string) []byte {
	p.buf.Reset()
	for _, f := range fields {
		i := strings.IndexByte(f[1:], '=') + 1
		p.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: f[i+1:]})
	}
	return bytes.Clone(p.buf.Bytes())
}

// request returns HEADERS for a request.
func (p *rawPeer) request(stream uint32, end bool, fields ...string) []byte {
	all := append([]string{":method=GET", ":scheme=http", ":path=/", ":authority=h"}, fields...)
	return p.headers(stream, end, all...)
}

// headers returns HEADERS.
func (p *rawPeer) headers(stream uint32, end bool, fields ...string) []byte {
	return headersFrame(stream, end, p.block(fields...))
}

func headersFrame(stream uint32, end bool, block []byte) []byte {
	flags := uint8(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	return rawFrame(frameHeaders, flags, stream, block)
}

func rawFrame(typ frameType, flags uint8, stream uint32, payload []byte) []byte {
	b := appendFrameHeader(nil, frameHeader{length: len(payload), typ: typ, flags: flags, stream: stream})
	return append(b, payload...)
}

func dataFrame(stream uint32, end bool, data string) []byte {
	var flags uint8
	if end {
		flags = flagEndStream
	}
	return rawFrame(frameData, flags, stream, []byte(data))
}

// join concatenates frames.
func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// hello is what a client sends first: the preface, SETTINGS and the
// acknowledgement of the server's.
func hello(settings ...setting) []byte {
	b := append([]byte(preface), appendSettings(nil, settings...)...)
	return appendSettingsAck(b)
}

// A served is a ServerConn under test with its peer.
type served struct {
	*rawPeer
	conn *ServerConn
	done chan struct{} // Serve has returned
	err  error         // that OnClose has got, then
}

// serve serves ours and returns the peer, which has not said hello yet. At the
// end of the test both are gone.
func serve(t testing.TB, peer, ours net.Conn, cfg Config, handle func(*ServerStream)) *served {
	t.Helper()
	s := &served{rawPeer: newRawPeer(t, peer), done: make(chan struct{})}
	cfg.OnClose = func(err error) { s.err = err }
	cfg = cfg.WithDefaults()
	s.conn = NewServerConn(ours, &cfg, nil, handle)
	go func() {
		defer close(s.done)
		s.conn.Serve()
	}()
	t.Cleanup(func() {
		s.conn.Kill()
		<-s.done
		peer.Close()
		<-s.rawPeer.done
	})
	return s
}

// serveTCP serves a new connection and says hello.
func serveTCP(t testing.TB, cfg Config, handle func(*ServerStream)) *served {
	t.Helper()
	peer, ours := tcpPair(t)
	s := serve(t, peer, ours, cfg, handle)
	s.send(hello())
	return s
}

// servePipe is serveTCP in memory, for tests on a fake clock.
func servePipe(t testing.TB, cfg Config, handle func(*ServerStream)) *served {
	t.Helper()
	peer, ours := net.Pipe()
	s := serve(t, peer, ours, cfg, handle)
	s.send(hello())
	return s
}

// A dialed is a ClientConn under test with its peer.
type dialed struct {
	*rawPeer
	conn *ClientConn
	over chan struct{} // OnClose has been called
	err  error         // with this
}

// dial makes a client connection on ours. The peer has received the preface
// and has not sent its SETTINGS yet.
func dial(t testing.TB, peer, ours net.Conn, cfg Config) *dialed {
	t.Helper()
	d := &dialed{over: make(chan struct{})}
	cfg.OnClose = func(err error) { d.err = err; close(d.over) }
	cfg = cfg.WithDefaults()
	d.conn = NewClientConn(ours, &cfg, "http")
	got := make([]byte, len(preface))
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != preface {
		t.Fatalf("got preface %q, %v", got, err)
	}
	d.rawPeer = newRawPeer(t, peer)
	t.Cleanup(func() {
		d.conn.Kill()
		<-d.over
		peer.Close()
		<-d.rawPeer.done
	})
	return d
}

// dialTCP makes a client connection whose peer has said hello.
func dialTCP(t testing.TB, cfg Config, settings ...setting) *dialed {
	t.Helper()
	peer, ours := tcpPair(t)
	d := dial(t, peer, ours, cfg)
	d.hello(settings...)
	return d
}

// dialPipe is dialTCP in memory, for tests on a fake clock.
func dialPipe(t testing.TB, cfg Config, settings ...setting) *dialed {
	t.Helper()
	peer, ours := net.Pipe()
	d := dial(t, peer, ours, cfg)
	d.hello(settings...)
	return d
}

// hello sends what a server sends first and waits until it has been taken.
func (d *dialed) hello(settings ...setting) {
	d.t.Helper()
	d.send(appendSettingsAck(appendSettings(nil, settings...)))
	d.sync()
}

// sync waits until the other side has handled everything that was sent.
func (p *rawPeer) sync() {
	p.t.Helper()
	p.send(appendPing(nil, 0, []byte("testsync")))
	var kept []frame
	for {
		f, ok := p.nextAny()
		if !ok || f.typ == framePing && string(f.payload) == "testsync" {
			break
		}
		kept = append(kept, f)
	}
	p.mu.Lock()
	p.frames = append(kept, p.frames...)
	p.mu.Unlock()
}

// inBubble runs a test on a fake clock.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
}

// waitFor waits until a channel is closed.
func waitFor(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		t.Fatalf("%s: nothing happened", what)
	}
}

// readBody reads a body to its end.
func readBody(read func() ([]byte, bool, error)) (body []byte, err error) {
	for {
		piece, last, err := read()
		body = append(body, piece...)
		if err != nil || last {
			return body, err
		}
	}
}

// answer sends a short response.
func answer(s *ServerStream, status int, body string) error {
	res := header.Response{Status: status, Length: int64(len(body))}
	if err := s.WriteHead(&res, false); err != nil {
		return err
	}
	return s.WriteBody([]byte(body), true)
}

// echo answers with what it has understood of the request.
func echo(s *ServerStream) {
	body, err := readBody(s.ReadBody)
	if err != nil {
		s.Abort()
		return
	}
	r := s.Request()
	answer(s, 200, fmt.Sprintf("%s %s %s %q %q", r.Method, r.Target, r.Host(), body, s.Trailers().String()))
}

// ok answers at once.
func ok(s *ServerStream) { answer(s, 200, "ok") }

// okFrames is what ok sends.
func okFrames(stream int) []string {
	return []string{fmt.Sprintf("HEADERS %d 4 :status=200 content-length=2", stream), fmt.Sprintf("DATA %d 1 \"ok\"", stream)}
}

// newRequest returns a request for the host "h".
func newRequest(method, target string, length int64) *header.Request {
	r := &header.Request{Method: method, Target: target, Length: length}
	r.SetHost("h")
	return r
}

// get opens a stream with a request without body.
func (d *dialed) get(fields ...string) *ClientStream {
	d.t.Helper()
	s := d.conn.NewStream(nil, 0, 0)
	if s == nil {
		d.t.Fatal("NewStream = nil")
	}
	req := newRequest("GET", "/", 0)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		req.Fields.Add(name, value)
	}
	if err := s.WriteHead(req, "", false, true); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// A response is what a test wants to know of one.
type response struct {
	statuses string // of all heads
	body     string
	trailers string
	err      error
}

// receive reads a response to its end.
func receive(s *ClientStream) (r response) {
	var res header.Response
	for r.err == nil && !strings.HasSuffix(r.statuses, ";") {
		if r.err = s.ReadHead(&res); r.err == nil {
			r.statuses += fmt.Sprint(res.Status)
			if res.Informational() {
				r.statuses += " "
			} else {
				r.statuses += ";"
			}
		}
	}
	if r.err == nil {
		var body []byte
		body, r.err = readBody(s.ReadBody)
		r.body, r.trailers = string(body), s.Trailers().String()
	}
	return r
}
