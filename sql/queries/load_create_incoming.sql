-- The measurements that are being loaded. double precision is what the sources hold; NaN: capacity not known.
CREATE TEMPORARY TABLE load_incoming (
    resource    integer          NOT NULL,
    measured_at timestamptz      NOT NULL,
    value       double precision NOT NULL,
    capacity    double precision NOT NULL,
    line        bigint           NOT NULL
) ON COMMIT DROP
