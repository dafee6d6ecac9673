// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/proxy"
)

// Filter returns the hook that writes a line to w for each request. In
// proxy.Chain its place does not matter.
func Filter[S any](w *Writer) proxy.Hooks[S] {
	return proxy.Hooks[S]{
		Log: func(s *proxy.Session, _ *S, _ error) { w.log(s) },
	}
}

// log writes the line for a request.
func (w *Writer) log(s *proxy.Session) {
	d := s.Digest()
	req := s.Request()
	e := entry{
		client:    s.ClientAddr().Addr(),
		start:     d.Start,
		method:    req.Method,
		target:    req.Target,
		proto:     req.Proto.String(),
		status:    d.Status,
		body:      d.ResponseBodySent,
		referer:   req.Fields.Get("Referer"),
		userAgent: req.Fields.Get("User-Agent"),
		took:      d.Total,
		failed:    s.Tried(),
		peer:      s.Peer(),
	}
	b := bytebuf.Get(bytebuf.Small)
	b.B = e.append(b.B)
	w.add(b.B)
	b.Release()
}
