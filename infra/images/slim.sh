#!/bin/sh
# Take out of the environment what no program of ours ever reads: headers, tests, the symbols of a debugger, the colours of
# other languages than Python, and AWS services that we do not call. Run by the layer that installs it all, so that it
# never weighs anything.
set -eu
cd /opt/stars/lib/python3.11/site-packages
rm -rf tensorflow/include torch/include torch/test clang numpy/_core/include numpy/_core/lib pyarrow/include
[ ! -d torch/bin ] || find torch/bin -type f ! -name torch_shm_manager -delete
find . -type d -name tests -prune -exec rm -rf {} +
rm -rf sqlalchemy/testing
[ ! -d pygments/lexers ] || find pygments/lexers -type f \
    ! -name '__init__.*' ! -name '_mapping.*' ! -name 'python.*' -delete
if [ -d botocore/data ]; then
    find botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin \
        ! -name athena ! -name glue ! -name sagemaker ! -name sagemaker-runtime ! -name stepfunctions -exec rm -rf {} +
fi
# Not the libraries in *.libs: what auditwheel has patched does not always survive it.
find . -name '*.so' ! -path './*.libs/*' ! -path './torch/*' ! -path './tensorflow/*' ! -path './pyarrow/*' -size +40k \
    -exec strip --strip-unneeded {} +
