# To be sourced. launch RANKS COMMAND...: becomes the launcher, $launcher, of the MPI that $mpi names. Where it is
# missing: skipped (77), a failure under CI.

case $mpi in
  openmpi) launcher=mpirun.openmpi package=openmpi-bin ;;
  mpich) launcher=mpiexec.mpich package=mpich ;;
  *) echo "launch.sh: expected openmpi or mpich, got '$mpi'"; exit 2 ;;
esac
# Debian names them so; elsewhere the name has no suffix.
command -v $launcher >/dev/null || launcher=${launcher%.*}
command -v $launcher >/dev/null || {
  echo "skipped: no $launcher (Debian's package $package)"
  [ "${CI:-}" = true ] && exit 1
  exit 77
}

launch() {
  local ranks=$1
  shift
  if [ "$mpi" = openmpi ]; then
    # More ranks than cores, and as root in containers.
    set -- --oversubscribe -n "$ranks" "$@"
    [ "$(id -u)" -ne 0 ] || set -- --allow-run-as-root "$@"
  else
    set -- -n "$ranks" "$@"
  fi
  exec "$launcher" "$@"
}
