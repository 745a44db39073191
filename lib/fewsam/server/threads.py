"""Worker threads that the routes share."""

from concurrent.futures import ThreadPoolExecutor

# Two at once: a click is answered while a volume is segmented; more would only share the same cores.
INFER_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="infer")
