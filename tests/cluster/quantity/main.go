// Command quantity tells what Kubernetes itself makes of texts that may be quantities. It reads lines, each a JSON string,
// and answers each with a line: "error", "large" for what no 64 bits hold, or the value, rounded up to whole units.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"

	"k8s.io/apimachinery/pkg/api/resource"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	answers := bufio.NewWriter(os.Stdout)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			fail(fmt.Sprintf("%q is no JSON string: %v", lines.Text(), err))
		}
		fmt.Fprintln(answers, answer(text))
	}
	if err := lines.Err(); err != nil {
		fail(err.Error())
	}
	if err := answers.Flush(); err != nil {
		fail(err.Error())
	}
}

func answer(text string) string {
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return "error"
	}
	if quantity.CmpInt64(math.MaxInt64) > 0 {
		return "large"
	}
	return strconv.FormatInt(quantity.Value(), 10)
}

// fail ends the program: whoever asks gets no answer that could be taken for one.
func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
