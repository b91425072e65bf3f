"""Settings of the controller's tests."""

from hypothesis import settings

# A machine that also runs guests is slow now and then; that says nothing about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
