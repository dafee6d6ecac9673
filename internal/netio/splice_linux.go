// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

const haveSplice = true
