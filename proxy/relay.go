// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"time"

	"github.com/belay-proxy/belay/header"
)

// relayResponse reads the answer of the peer and sends it to the client: any
// informational heads, the final head, body and trailers.
func (x *exchange) relayResponse() error {
	if err := x.readHead(); err != nil {
		return err
	}
	for x.res.Informational() && x.res.Status != 101 {
		x.cleanHead()
		if err := x.filterHead(); err != nil {
			return err
		}
		if err := x.down.WriteHead(&x.res, false); err != nil {
			return err
		}
		if err := x.up.ReadHead(&x.res); err != nil {
			return x.explain(err)
		}
	}
	if x.phases.log != nil {
		x.headAt = time.Now()
	}
	switch switched, err := x.switched(); {
	case err != nil:
		return err
	case switched:
		return x.tunnel()
	}
	hasBody := x.responseHasBody()
	if x.phases.upstreamResponseBodyFilter != nil || x.phases.responseBodyFilter != nil {
		x.res.Length = header.UnknownLength // also of a body that only GET would show
	}
	x.cleanHead()
	if err := x.filterHead(); err != nil {
		return err
	}
	x.hasResponse = true
	if err := x.down.WriteHead(&x.res, !hasBody); err != nil || !hasBody {
		return err
	}
	if !x.up.BodyBuffered() { // the body may be long in coming
		if err := x.down.Flush(); err != nil {
			return err
		}
	}
	return x.relayBody()
}

// responseHasBody reports whether the response has a body that is for the
// client. A hook may have sent another method to the peer: the head of its
// answer to HEAD then announces a body that neither comes nor is to come.
func (x *exchange) responseHasBody() bool {
	comes, wanted := x.res.HasBody(x.head.Method), x.res.HasBody(x.down.Request().Method)
	if wanted && !comes {
		x.res.Length = 0
	}
	return wanted && comes
}

// readHead sends what is pending of the request and reads the first head of
// the answer.
func (x *exchange) readHead() error {
	if x.uploading != nil {
		return x.explain(x.up.ReadHead(&x.res)) // the upload does its own sending
	}
	return x.explain(x.up.SendAndReadHead(&x.res))
}

// explain replaces an error of the peer's connection by the reason for which
// the proxy itself has ended the wait on it.
func (x *exchange) explain(err error) error {
	if err == nil {
		return nil
	}
	if x.waitErr != nil {
		return x.waitErr
	}
	if x.conn.killed.Load() {
		return killedError("wait for peer")
	}
	if u := x.uploading; u != nil {
		if cerr := u.clientError(); cerr != nil {
			return cerr
		}
	}
	return err
}

// filterHead runs the hooks for a response head.
func (x *exchange) filterHead() error {
	if f := x.phases.upstreamResponseFilter; f != nil {
		if err := f(&x.session, &x.res); err != nil {
			return hookError("UpstreamResponseFilter", err)
		}
	}
	if f := x.phases.responseFilter; f != nil {
		if err := f(&x.session, &x.res); err != nil {
			return hookError("ResponseFilter", err)
		}
	}
	return nil
}

// cleanHead removes from the response what is meant for one connection, and
// adds Via. Content-Length stays in Fields for hooks to see; what is sent
// comes from Length.
func (x *exchange) cleanHead() {
	res := &x.res
	var names []string
	if x.up.Nominates() {
		names = nominated(&res.Fields)
	}
	for i := range res.Fields.Len() {
		if x.dropped(res.Fields.At(i).Name, names) {
			res.Fields.DelFunc(func(f header.Field) bool { return x.dropped(f.Name, names) })
			break
		}
	}
	if via := x.proxy.cfg.Forwarding.Via; via != "" {
		appendList(&res.Fields, "Via", viaElement(res.Proto, via), true)
	}
}

// dropped reports whether a field of the response is not for the client.
func (x *exchange) dropped(name string, nominated []string) bool {
	switch len(name) {
	case len("Content-Length"):
		if header.EqualName(name, "Content-Length") {
			return false
		}
	case len("Trailer"): // and Upgrade
		if header.EqualName(name, "Trailer") {
			return x.res.Length >= 0 // there will be none
		}
	}
	return isHopByHop(name) || nominated != nil && contains(nominated, name)
}

// relayBody sends the response body to the client, piece by piece. A client
// that is slow to take it slows down the reading from the peer.
func (x *exchange) relayBody() error {
	filtered := x.phases.upstreamResponseBodyFilter != nil || x.phases.responseBodyFilter != nil
	for {
		if !filtered {
			if done, err := spliceBody(x.down, x.up); done || err != nil {
				return x.explain(err)
			}
		}
		piece, last, err := x.up.ReadBody()
		if err != nil {
			return x.explain(err)
		}
		if filtered {
			if piece, err = x.filterBody(piece, last); err != nil {
				return err
			}
		}
		if last && x.up.Trailers().Len() > 0 {
			return x.relayTrailers(piece)
		}
		if err := x.down.WriteBody(piece, last); err != nil || last {
			return err
		}
		if !x.up.BodyBuffered() {
			if err := x.down.Flush(); err != nil {
				return err
			}
		}
	}
}

func (x *exchange) filterBody(piece []byte, last bool) (_ []byte, err error) {
	if f := x.phases.upstreamResponseBodyFilter; f != nil {
		if piece, err = f(&x.session, piece, last); err != nil {
			return nil, hookError("UpstreamResponseBodyFilter", err)
		}
	}
	if f := x.phases.responseBodyFilter; f != nil {
		if piece, err = f(&x.session, piece, last); err != nil {
			return nil, hookError("ResponseBodyFilter", err)
		}
	}
	return piece, nil
}

// relayTrailers ends the response with the last piece and the trailers.
func (x *exchange) relayTrailers(piece []byte) error {
	if err := x.down.WriteBody(piece, false); err != nil {
		return err
	}
	trailers := x.up.Trailers()
	if f := x.phases.upstreamResponseTrailerFilter; f != nil {
		if err := f(&x.session, trailers); err != nil {
			return hookError("UpstreamResponseTrailerFilter", err)
		}
	}
	if f := x.phases.responseTrailerFilter; f != nil {
		if err := f(&x.session, trailers); err != nil {
			return hookError("ResponseTrailerFilter", err)
		}
	}
	return x.down.WriteTrailers(trailers)
}
