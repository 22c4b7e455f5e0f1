// Makes one GET with Go's default client, whose roots are those of the system, and prints the
// status, or the error and exit code 1. It stands for the object stores that name no roots of
// their own: Azure, GCS.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	response, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
}
