"""Running a job: stages in threads, in-stream control, constant memory."""
