// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/belay-proxy/belay/internal/peercred"
)

// answerTimeout bounds how long a process may take to say how it is.
const answerTimeout = 10 * time.Second

// maxAnswer limits an answer, in bytes.
const maxAnswer = 16 << 20

// A Client speaks to one running process.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a Client for the process that has the socket.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, err
		}
		// Nobody else may pass for the process, or learn what we want of it.
		info, err := os.Lstat(socket)
		owners := []uint32{uint32(os.Geteuid())}
		if uid, ok := owner(info); err == nil && ok && os.Geteuid() == 0 {
			owners = append(owners, uid)
		}
		if err := peercred.Check(c.(*net.UnixConn), owners...); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	return &Client{socket, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Socket returns the path of the socket.
func (c *Client) Socket() string { return c.socket }

// Status asks the process how it is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var s Status
	return s, c.do(ctx, http.MethodGet, "/status", &s)
}

// Reload makes the process read its configuration again. The error is a
// *Failure if it has not done so; then nothing has changed.
func (c *Client) Reload(ctx context.Context) (Reload, error) {
	var r Reload
	return r, c.do(ctx, http.MethodPost, "/reload", &r)
}

// Stop ends the process, which has the id pid, and waits until it has gone. With
// now, exchanges in hand are cut off. Until then, progress is called about once
// per second.
func (c *Client) Stop(ctx context.Context, pid int, now bool, progress func(Drain)) error {
	path := "/stop"
	if now {
		path += "?now=1"
	}
	res, err := c.send(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		var d Drain
		if err := json.Unmarshal(lines.Bytes(), &d); err == nil && progress != nil {
			progress(d)
		}
	}
	// The body ends when the process is about to end, in whichever way.
	return WaitGone(ctx, pid)
}

// do sends a request and decodes the answer.
func (c *Client) do(ctx context.Context, method, path string, answer any) error {
	res, err := c.send(ctx, method, path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("answer of %s: %w", c.socket, err)
	}
	return nil
}

// send sends a request. The answer has status 200.
func (c *Client) send(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://belay"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	f := new(Failure)
	err = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(f)
	if err != nil || len(f.Problems) == 0 {
		return nil, errors.New("the process answered " + res.Status)
	}
	return nil, f
}
