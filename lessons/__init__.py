"""The course: one numbered folder a lesson."""
