"""Push notifications that cannot be turned against their sender or their receiver.

    screen    may a notification go there: looks at every address behind a URL
    deliver   one POST to the address that was looked at, and to no other
    sign      a signature that the receiver can check, and the check
    configs   the official store of configurations, with limits and the screen in front
    sender    the official `PushNotificationSender`: queues, retries, order

`screen`, `deliver` and `sign` do not import the official package.
"""
