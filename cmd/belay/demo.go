// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func newDemo() *cobra.Command { return &cobra.Command{Use: "demo"} }
