// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxyerr_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/belay-proxy/belay/proxyerr"
)

func ExampleNew() {
	err := proxyerr.New(proxyerr.Upstream, proxyerr.ConnectTimeout, "dial", os.ErrDeadlineExceeded)
	err.Addr = "10.0.0.7:443"
	err.Retry = proxyerr.RetryAlways
	fmt.Println(err)
	fmt.Println(errors.Is(err, proxyerr.ConnectTimeout), err.Timeout(), proxyerr.CanRetry(err, false))
	// Output:
	// upstream 10.0.0.7:443: dial: connect timeout: i/o timeout
	// true true true
}

func ExampleWithStatus() {
	fmt.Println(proxyerr.WithStatus(403, "no token"))
	// Output: internal: no token: HTTP status 403
}
