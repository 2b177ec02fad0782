"""What a virtual machine is started from and spoken to with: its first files, its kernel, its monitor, its processor.

No driver stands on this yet: the tier `microvm` is not offered.
"""
