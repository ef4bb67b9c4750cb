// Command schema answers what an API server says to objects of a custom resource. Its argument is the file of a
// CustomResourceDefinition, which it checks first. It reads lines, each an object as JSON, and answers each with a line: a
// JSON array of what is wrong with the object.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// A resource is what the API server makes of a CustomResourceDefinition with one version.
type resource struct {
	structural *schema.Structural
	validate   func(ctx context.Context, object runtime.Object) field.ErrorList
}

func main() {
	if len(os.Args) != 2 {
		fail("usage: schema CRD.yaml < OBJECTS")
	}
	resource := read(os.Args[1])
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4<<20)
	answers := bufio.NewWriter(os.Stdout)
	for lines.Scan() {
		answer, err := json.Marshal(resource.wrong(lines.Bytes()))
		check(err)
		fmt.Fprintf(answers, "%s\n", answer)
	}
	check(lines.Err())
	check(answers.Flush())
}

// read reads a CustomResourceDefinition and ends the program if an API server would refuse it, also for the cost of its
// rules.
func read(path string) resource {
	text, err := os.ReadFile(path)
	check(err)
	definition := &v1.CustomResourceDefinition{}
	check(yaml.UnmarshalStrict(text, definition))
	v1.SetObjectDefaults_CustomResourceDefinition(definition)
	internal := &apiextensions.CustomResourceDefinition{}
	check(v1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(definition, internal, nil))
	internal.Status.StoredVersions = []string{internal.Spec.Versions[0].Name}
	check(crdvalidation.ValidateCustomResourceDefinition(context.Background(), internal).ToAggregate())
	version, err := apiextensions.GetSchemaForVersion(internal, internal.Spec.Versions[0].Name)
	check(err)
	structural, err := schema.NewStructural(version.OpenAPIV3Schema)
	check(err)
	validator, _, err := validation.NewSchemaValidator(version.OpenAPIV3Schema)
	check(err)
	kind := runtimeschema.GroupVersionKind{
		Group: internal.Spec.Group, Version: internal.Spec.Versions[0].Name, Kind: internal.Spec.Names.Kind,
	}
	status := &apiextensions.CustomResourceSubresourceStatus{}
	strategy := customresource.NewStrategy(scheme.Scheme, true, kind, validator, nil, structural, status, nil, nil)
	return resource{structural: structural, validate: strategy.Validate}
}

// wrong says what is wrong with an object, as a strict create does.
func (r resource) wrong(text []byte) []string {
	said := []string{}
	object := map[string]any{}
	if err := utiljson.Unmarshal(text, &object); err != nil {
		return append(said, err.Error())
	}
	options := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object, r.structural, true, options) {
		said = append(said, fmt.Sprintf("strict decoding error: unknown field %q", path))
	}
	if len(said) > 0 {
		return said
	}
	defaulting.Default(object, r.structural)
	for _, err := range r.validate(context.Background(), &unstructured.Unstructured{Object: object}) {
		said = append(said, err.Error())
	}
	return said
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

// fail ends the program: whoever asks gets no answer that could be taken for one.
func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
