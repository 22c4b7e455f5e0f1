// The judge of our PEM rules: Go's own reader, which Velero and its plugins use.
module velero-trust.io/rig/pem

go 1.26.0
