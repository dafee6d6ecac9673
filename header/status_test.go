// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"net/http"
	"testing"
)

func TestStatusText(t *testing.T) {
	t.Parallel()
	// RFC 9110 renamed these after net/http had named them.
	renamed := map[int]string{413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
	for status := range 1000 {
		want := http.StatusText(status)
		if name, ok := renamed[status]; ok {
			want = name
		}
		if got := StatusText(status); got != want {
			t.Errorf("StatusText(%d) = %q, want %q", status, got, want)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{404: "404 Not Found\n", 431: "431 Request Header Fields Too Large\n", 599: "599 Error\n"} {
		if got := ErrorText(status); got != want {
			t.Errorf("ErrorText(%d) = %q, want %q", status, got, want)
		}
	}
}
