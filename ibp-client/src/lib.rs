//! Requester of IBP: ask a node to run an app, with deadlines, load balancing and an exact statement of what is known after a failure.
