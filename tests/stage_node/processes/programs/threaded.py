"""Starts a thread when it is imported, which is what this module is for."""

import threading
import time

threading.Thread(target=time.sleep, args=[9], daemon=True).start()
