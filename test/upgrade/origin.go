// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/belay-proxy/belay/test/internal/wsframe"
)

// fill fills b with the bytes from offset on of the content with number id.
func fill(b []byte, id, offset uint64) {
	for i := range b {
		n := offset + uint64(i)
		b[i] = byte(id ^ n ^ n>>8 ^ n>>16)
	}
}

// An Origin is the server behind the proxy. It answers
//
//	GET  /content/ID/SIZE         SIZE bytes of content ID
//	GET  /slow/ID/SIZE/MS         the same, spread over about MS milliseconds
//	POST /sum                     the size and a hash of the body
//	GET  /ws                      a WebSocket on which every message comes back
type Origin struct {
	ln     net.Listener
	server *http.Server
}

// NewOrigin starts an origin on a free port.
func NewOrigin() (*Origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /content/{id}/{size}", serveContent)
	mux.HandleFunc("GET /slow/{id}/{size}/{ms}", serveContent)
	mux.HandleFunc("POST /sum", serveSum)
	mux.HandleFunc("GET /ws", serveWebSocket)
	o := &Origin{ln: ln, server: &http.Server{Handler: mux, IdleTimeout: time.Hour}}
	go o.server.Serve(ln) // ends with Close
	return o, nil
}

// Addr returns the address of the origin.
func (o *Origin) Addr() string { return o.ln.Addr().String() }

// Close ends the origin and its connections.
func (o *Origin) Close() { o.server.Close() }

func serveContent(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseUint(r.PathValue("id"), 10, 64)
	size, _ := strconv.ParseUint(r.PathValue("size"), 10, 64)
	ms, _ := strconv.Atoi(r.PathValue("ms"))
	w.Header()["Date"] = nil
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatUint(size, 10))
	piece := uint64(32 << 10)
	var pause time.Duration
	if ms > 0 {
		piece = max(1, min(piece, size/50))
		pause = time.Duration(ms) * time.Millisecond / 50
	}
	b := make([]byte, min(piece, size))
	for sent := uint64(0); sent < size; {
		b = b[:min(piece, size-sent)]
		fill(b, id, sent)
		if _, err := w.Write(b); err != nil {
			return
		}
		sent += uint64(len(b))
		if pause > 0 {
			http.NewResponseController(w).Flush()
			time.Sleep(pause)
		}
	}
}

func serveSum(w http.ResponseWriter, r *http.Request) {
	h := fnv.New64a()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %x", n, h.Sum64())
}

// accept returns the answer to a key (RFC 6455 section 4.2.2).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func serveWebSocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Version") != "13" || key == "" {
		http.Error(w, "no WebSocket", http.StatusBadRequest)
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept(key))
	for {
		f, err := wsframe.Read(rw)
		if err != nil || !f.Masked {
			return
		}
		f.Masked = false
		if f.Op == wsframe.Ping {
			f.Op = wsframe.Pong
		}
		if _, err := c.Write(f.Append(nil)); err != nil || f.Op == wsframe.Close {
			return
		}
	}
}
