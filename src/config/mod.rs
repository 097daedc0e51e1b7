//! Files in, judged and complete settings, keys and service secrets out.
