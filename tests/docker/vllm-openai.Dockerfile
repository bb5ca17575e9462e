# Stands in for vllm/vllm-openai:v0.32.0 where no image can be pulled: Debian's Python 3.11 and PyPI's CUDA wheels. vLLM's
# own image has the same wheels with Ubuntu's Python 3.12, and the CUDA toolkit. As there, the wheel of vLLM is installed
# from a file that is gone afterwards, which pip's list of packages names.
FROM python:3.11-slim-bookworm
# The base may have a folder with a CPU build of torch, which pip takes for newer (2.13.0+cpu) than the CUDA build.
ENV PIP_FIND_LINKS=""
RUN python3 -m pip download --no-cache-dir --no-deps -d /tmp/dist vllm==0.32.0 \
 && python3 -m pip install --no-cache-dir /tmp/dist/*.whl \
 && rm -r /tmp/dist
ENTRYPOINT ["vllm", "serve"]
