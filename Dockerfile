# Static programs in empty images, for whoever has Docker: docker build --target operator . (or agent).
# `make image` packs the same without it.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bins

FROM scratch AS agent
COPY --from=build /src/target/release/rso-agent /rso-agent
USER 65532:65532
ENTRYPOINT ["/rso-agent"]

# The last target is what a build without --target makes.
FROM scratch AS operator
COPY --from=build /src/target/release/rso /rso
USER 65532:65532
ENTRYPOINT ["/rso"]
