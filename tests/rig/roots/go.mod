// A Go program that trusts the system's roots, as every client does that is told nothing else.
module velero-trust.io/rig/roots

go 1.26.0
