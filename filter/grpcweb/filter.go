// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpcweb

import (
	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
)

// Filter returns the hooks that translate grpc-web. Put them first in
// proxy.Chain: other filters then see gRPC.
func Filter[S any]() proxy.Hooks[S] {
	f := &filter{slot: proxy.NewSlot[state]()}
	return proxy.Hooks[S]{
		UpstreamRequestFilter: func(s *proxy.Session, _ *S, head *header.Request) error {
			f.requestHead(s, head)
			return nil
		},
		RequestBodyFilter: func(s *proxy.Session, _ *S, chunk []byte, last bool) ([]byte, error) {
			return f.requestBody(s, chunk, last)
		},
		ResponseFilter: func(s *proxy.Session, _ *S, head *header.Response) error {
			f.responseHead(s, head)
			return nil
		},
		ResponseBodyFilter: func(s *proxy.Session, _ *S, chunk []byte, last bool) ([]byte, error) {
			return f.responseBody(s, chunk, last), nil
		},
		ResponseTrailerFilter: func(s *proxy.Session, _ *S, trailers *header.Fields) error {
			return f.responseTrailers(s, trailers)
		},
	}
}

type filter struct{ slot proxy.Slot[state] }

// state is what a request that is grpc-web needs to remember. The two
// directions run at the same time and share nothing of it.
type state struct {
	up struct {
		text    bool
		decoder decoder
		out     []byte // reused from piece to piece
	}
	down struct {
		text   bool   // is wanted
		suffix string // of the request
		grpc   bool   // the response is one of gRPC
		status []byte // the last frame, if the head had what belongs there
		out    []byte // reused from piece to piece
	}
}

// of returns the state of a request, or nil if it is not grpc-web.
func (f *filter) of(s *proxy.Session) *state {
	if !Match(s.Request()) || s.Upgrade() != "" {
		return nil
	}
	return f.slot.Of(s)
}

// requestHead makes the head one of gRPC. It is called before all others, and
// again for each attempt.
func (f *filter) requestHead(s *proxy.Session, head *header.Request) {
	st := f.of(s)
	if st == nil {
		return
	}
	text, suffix, _ := parseWebType(s.Request().Fields.Get("Content-Type"))
	st.up.text, st.up.decoder = text, decoder{}
	st.down.text, st.down.suffix = wantsText(s.Request(), text), suffix
	head.Fields.Set("Content-Type", grpcType+suffix)
	head.Fields.Set("TE", "trailers")
	head.Fields.Del("Accept")
	head.Fields.Del("Accept-Encoding") // no frame can be added to a compressed body
}

func (f *filter) requestBody(s *proxy.Session, chunk []byte, last bool) ([]byte, error) {
	st := f.of(s)
	if st == nil || !st.up.text {
		return chunk, nil
	}
	up := &st.up
	out, err := up.decoder.append(up.out[:0], chunk)
	if err == nil && last {
		err = up.decoder.finish()
	}
	up.out = out
	if err != nil {
		return nil, &proxyerr.Error{
			Source: proxyerr.Downstream, Op: "decode grpc-web-text", Kind: proxyerr.BadMessage, Status: 400, Err: err,
		}
	}
	return out, nil
}

// responseHead makes a head of gRPC one of grpc-web.
func (f *filter) responseHead(s *proxy.Session, head *header.Response) {
	st := f.of(s)
	if st == nil || !head.HasBody("POST") {
		return
	}
	down := &st.down
	suffix, ok := parseType(head.Fields.Get("Content-Type"))
	if down.grpc = ok; !ok {
		return
	}
	if suffix == "" {
		suffix = down.suffix
	}
	head.Fields.Set("Content-Type", webTypeOf(down.text, suffix))
	head.Fields.Del("Trailer")
	head.Length = header.UnknownLength
	down.status = takeStatus(&head.Fields)
}

// statusFields are the trailers that gRPC itself defines.
var statusFields = [...]string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"}

// takeStatus removes the status of a call from a head, where it stands if no
// message follows, and returns it as a frame. It returns nil if there is none.
func takeStatus(fields *header.Fields) (frame []byte) {
	if !fields.Has(statusFields[0]) {
		return nil
	}
	var status header.Fields
	for _, name := range statusFields {
		for value := range fields.Values(name) {
			status.AddValid(name, value)
		}
		fields.Del(name)
	}
	return appendTrailerFrame(nil, &status)
}

func (f *filter) responseBody(s *proxy.Session, chunk []byte, last bool) []byte {
	st := f.of(s)
	if st == nil || !st.down.grpc {
		return chunk
	}
	down := &st.down
	var status []byte
	if last {
		status = down.status
	}
	switch {
	case down.text:
		down.out = appendText(appendText(down.out[:0], chunk), status)
	case len(status) > 0:
		down.out = append(append(down.out[:0], chunk...), status...)
	default:
		return chunk
	}
	return down.out
}

// responseTrailers moves the trailers into the body. All of that has been sent
// when it is called.
func (f *filter) responseTrailers(s *proxy.Session, trailers *header.Fields) error {
	st := f.of(s)
	if st == nil || !st.down.grpc {
		return nil
	}
	var frame []byte
	if st.down.status == nil { // else the one frame there may be has been sent
		frame = appendTrailerFrame(nil, trailers)
	}
	trailers.Reset()
	if st.down.text {
		frame = appendText(nil, frame)
	}
	return s.WriteBody(frame, false)
}
