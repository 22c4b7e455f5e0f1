// The judge of our reading of NO_PROXY: Go's own, which Velero and its plugins use.
module velero-trust.io/rig/proxy

go 1.26.0
