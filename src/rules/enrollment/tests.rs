//! The rules of enrolment, over a store on a shelf.
