// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"github.com/belay-proxy/belay/test/internal/modes"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// maxInFlight is how much a proxy and the system's buffers on both sides of it
// may hold of one body, in bytes. It is far above what they do, and far below
// the bodies of the tests.
const maxInFlight = 24 << 20

// settled waits until the counter has not moved for a while and returns it.
func settled(t testing.TB, counter func() int64) int64 {
	t.Helper()
	last, since := counter(), time.Now()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if n := counter(); n != last {
			last, since = n, time.Now()
		} else if n > 0 && time.Since(since) > 300*time.Millisecond {
			return n
		}
	}
	t.Fatalf("the counter still moves at %d", last)
	return 0
}

// An origin that does not read slows the client down.
func TestUploadBackPressure(t *testing.T) {
	const size = 32 << 20
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		goOn := make(chan struct{})
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			<-goOn
			n, _ := io.Copy(io.Discard, req.Body)
			_, _ = fmt.Fprint(w, n)
		})
		body := &counted{r: io.LimitReader(zeros{}, size)}
		done := make(chan response, 1)
		go func() { done <- r.do(r.request("POST", "/", body)) }()
		if n := settled(t, body.n.Load); n > maxInFlight {
			t.Errorf("%d bytes were taken from the client while the origin read nothing, want at most %d", n, maxInFlight)
		}
		close(goOn)
		receiveWhile(t, "response", done, body.n.Load).want(t, 200, strconv.Itoa(size))
	})
}

// A client that does not read slows the origin down.
func TestDownloadBackPressure(t *testing.T) {
	const size = 32 << 20
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		var sent atomic.Int64
		r, _ := newRig(t, m, func(w http.ResponseWriter, _ *http.Request) {
			piece := make([]byte, 32<<10)
			for range size / len(piece) {
				if _, err := w.Write(piece); err != nil {
					return
				}
				sent.Add(int64(len(piece)))
			}
		})
		res, err := r.client.Do(r.request("GET", "/", nil))
		must(t, err)
		defer res.Body.Close()
		if n := settled(t, sent.Load); n > maxInFlight {
			t.Errorf("%d bytes were taken from the origin while the client read nothing, want at most %d", n, maxInFlight)
		}
		if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
			t.Errorf("then %d bytes, %v; want %d", n, err, size)
		}
	})
}

// Streams that are not read do not hold up the others, whose client may be
// another one, on the connection to the origin.
func TestSlowStreamsNextToOthers(t *testing.T) {
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		var sent atomic.Int64
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			n := 1000
			if req.URL.Path == "/big" {
				n = 64 << 20
			}
			_, _ = io.Copy(w, &counted{r: io.LimitReader(zeros{}, int64(n)), also: &sent})
		})
		slow := newClient(t, m.Down)
		for range 5 {
			res, err := slow.Do(r.request("GET", "/big", nil))
			must(t, err)
			defer res.Body.Close()
		}
		settled(t, sent.Load)
		for range 50 {
			if res := r.get("/small"); res.err != nil || len(res.body) != 1000 {
				t.Fatalf("got %d bytes, %v; want 1000", len(res.body), res.err)
			}
		}
	})
}

// 200 clients at once, 20 requests each, every byte compared. With -short there
// are 40.
func TestManyStreams(t *testing.T) {
	workers := 200
	if testing.Short() {
		workers = 40
	}
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, echoBody)
		var wg sync.WaitGroup
		var failed atomic.Int64
		for worker := range workers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(1, uint64(worker)))
				for i := range 20 {
					want := fmt.Sprintf("%d/%d:", worker, i) + strings.Repeat(string(rune('a'+i)), rnd.IntN(20_000))
					var body io.Reader = strings.NewReader(want)
					if i%2 == 1 {
						body = io.MultiReader(body)
					}
					res := r.do(r.request("POST", "/", body))
					if (res.err != nil || string(res.body) != want) && failed.Add(1) < 5 {
						t.Errorf("worker %d, request %d: %d, %d bytes, %v; want %d bytes", worker, i, res.StatusCode, len(res.body), res.err, len(want))
					}
				}
			})
		}
		wg.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of %d failed", n, 20*workers)
		}
		eventually(t, "no request in hand", func() bool { return r.proxy.Stats().Active == 0 })
	})
}

// Shutdown lets what is in hand finish, however long that takes.
func TestShutdown(t *testing.T) {
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		release := make(chan struct{})
		r, o := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			_, _ = io.WriteString(w, "begin ")
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = w.Write(body)
		})
		const n = 20
		responses := make(chan response, n)
		for i := range n {
			go func() { responses <- r.post("/", fmt.Sprint("end ", i%10)) }()
		}
		eventually(t, "requests at the origin", func() bool { return o.requests.Load() == n })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		down := make(chan error, 1)
		go func() { down <- r.proxy.Shutdown(ctx) }()
		if m.Down.H2 {
			time.Sleep(1200 * time.Millisecond) // beyond the second GOAWAY
		}
		select {
		case err := <-down:
			t.Errorf("Shutdown returned %v with requests in hand", err)
		default:
		}
		close(release)
		for range n {
			res := receive(t, "response", responses)
			if res.err != nil || !bytes.HasPrefix(res.body, []byte("begin end ")) || len(res.body) != len("begin end 0") {
				t.Errorf("got %d, %q, %v; want the whole response", res.StatusCode, res.body, res.err)
			}
		}
		if err := receive(t, "Shutdown", down); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
}

// A drain announces itself before it takes effect: the first GOAWAY covers
// every stream, the second those that have come by then.
func TestShutdownGoAway(t *testing.T) {
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		if !m.Down.H2 {
			t.Skip("HTTP/1 has no GOAWAY")
		}
		release := make(chan struct{})
		r, o := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			<-release
			_, _ = io.WriteString(w, req.URL.Path)
		})
		c := dialFrames(t, m.Down, r.addr)
		must(t, c.get(1, "/1"))
		eventually(t, "request at the origin", func() bool { return o.requests.Load() == 1 })
		down := make(chan error, 1)
		go func() { down <- r.proxy.Shutdown(context.Background()) }()
		first, err := c.next()
		if err != nil || first.kind != frameGoAway || first.last() != 1<<31-1 || first.code() != codeNo {
			t.Fatalf("got %+v, %v; want a GOAWAY for all streams", first, err)
		}
		must(t, c.get(3, "/3")) // on its way when the GOAWAY came
		second, err := c.next()
		if err != nil || second.kind != frameGoAway || second.last() != 3 || second.code() != codeNo {
			t.Fatalf("got %+v, %v; want a GOAWAY for streams up to 3", second, err)
		}
		close(release)
		bodies := map[uint32]string{}
		for {
			f, err := c.next()
			if err != nil {
				break
			}
			if f.kind == frameData {
				bodies[f.stream] += string(f.payload)
			}
		}
		if bodies[1] != "/1" || bodies[3] != "/3" {
			t.Errorf("bodies %v, want those of streams 1 and 3", bodies)
		}
		must(t, receive(t, "Shutdown", down))
	})
}

// When Shutdown runs out of time, what is left ends, and looks cut.
func TestShutdownDeadline(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, o := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.WriteString(w, "begin")
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
		})
		got := make(chan response, 1)
		go func() { got <- r.get("/") }()
		eventually(t, "request at the origin", func() bool { return o.requests.Load() == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := r.proxy.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v, want %v", err, context.DeadlineExceeded)
		}
		if res := receive(t, "response", got); res.err == nil {
			t.Errorf("the response looks whole: %q", res.body)
		}
	})
}

// Streams that clients reset in great number leave nothing behind.
func TestManyCanceled(t *testing.T) {
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/wait" {
				<-req.Context().Done()
			}
			_, _ = io.WriteString(w, "ok")
		})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 4 {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
					if res := r.do(r.request("GET", "/wait", nil).WithContext(ctx)); res.err == nil && res.StatusCode == 200 {
						t.Errorf("got %d from an origin that waits", res.StatusCode)
					}
					cancel()
					r.get("/").want(t, 200, "ok")
				}
			})
		}
		wg.Wait()
		eventually(t, "no request in hand", func() bool { return r.proxy.Stats().Active == 0 })
	})
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counted counts what is read.
type counted struct {
	r    io.Reader
	n    atomic.Int64
	also *atomic.Int64 // may be nil
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if c.also != nil {
		c.also.Add(int64(n))
	}
	return n, err
}
