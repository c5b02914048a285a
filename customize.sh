# shellcheck shell=sh
# The manager's installer reads this into its own shell (busybox ash), once the zip is at $ZIPFILE.
# The installer looks for this line as it is: the files are unpacked here, because the managers' way runs three programs
# for each of a thousand files.
# shellcheck disable=SC2034
SKIPUNZIP=1

# our_refuse SENTENCE HINT: `abort` is the installer's: it removes $MODPATH and ends.
our_refuse() {
    ui_print "! $1"
    abort "  $2"
    exit 1
}

# our_property KEY FILE
our_property() {
    while IFS= read -r our_line; do
        case $our_line in
        "$1"=*)
            echo "${our_line#*=}"
            return 0
            ;;
        esac
    done <"$2"
    return 1
}

our_check_manager() {
    # KernelSU and APatch also say they are some Magisk, for old modules.
    if [ "${APATCH:-}" = true ]; then
        our_manager="APatch ${APATCH_VER:-}"
        our_layout=bin
    elif [ "${KSU:-}" = true ]; then
        our_manager="KernelSU ${KSU_VER:-}"
        [ -n "${KSU_SUKISU:-}" ] && our_manager="SukiSU ${KSU_VER:-}"
        our_layout=bin
    elif [ "${MAGISK_VER_CODE:-0}" -ge 20400 ]; then
        our_manager="Magisk ${MAGISK_VER:-}"
        our_layout=system/bin
    else
        our_refuse "nspawn does not know this root manager." \
            "It needs Magisk 20.4 or newer, KernelSU (Next, SukiSU) or APatch."
    fi
    [ "${BOOTMODE:-false}" = true ] || our_refuse "nspawn cannot be installed from a recovery." \
        "Start Android, and install the zip in the app of your root manager."
}

our_check_machine() {
    case $(unzip -l "$ZIPFILE" "python/lib/ld-linux*" 2>&1) in
    *ld-linux-aarch64*) our_zip=arm64 ;;
    *ld-linux-x86-64*) our_zip=x86_64 ;;
    *) our_refuse "This zip is damaged, or not a release of nspawn: its Python is missing." "Download it again." ;;
    esac
    # A 32-bit Android may run on a 64-bit kernel, and the C library is in the zip.
    our_machine=$(uname -m)
    case ${ARCH:-}:$our_machine in
    arm64:* | arm:aarch64 | :aarch64) our_arch=arm64 ;;
    x64:* | x86:x86_64 | :x86_64) our_arch=x86_64 ;;
    *) our_refuse "This phone (${ARCH:-$our_machine}) is not supported." \
        "nspawn needs a 64-bit system: arm64 or x86_64." ;;
    esac
    [ "$our_arch" = "$our_zip" ] || our_refuse "This zip is for $our_zip, but this phone is $our_arch." \
        "Install the zip whose name ends in $our_arch.zip."

    our_kernel=
    { read -r our_kernel </proc/sys/kernel/osrelease; } 2>/dev/null
    our_kernel=${our_kernel:-$(uname -r)}
    our_major=${our_kernel%%[!0-9]*}
    our_minor=${our_kernel#"$our_major".}
    our_minor=${our_minor%%[!0-9]*}
    if [ "${our_major:-0}" -lt 4 ] || { [ "$our_major" -eq 4 ] && [ "${our_minor:-0}" -lt 19 ]; }; then
        our_refuse "The kernel of this phone is too old: $our_kernel." "nspawn needs Linux 4.19 or newer."
    fi
    [ -e /proc/self/ns/mnt ] || our_refuse "The kernel of this phone has no mount namespaces." \
        "Containers cannot run without them (CONFIG_NAMESPACES)."

    # The second line of df: file system, size, used, available, ...
    our_free=$(df -Pk /data | {
        read -r our_line
        read -r our_line our_line our_line our_free our_line
        echo "$((our_free / 1024))"
    })
    [ "${our_free:-0}" -ge 300 ] || our_refuse "There is not enough free space: ${our_free:-0} MB on /data." \
        "nspawn needs 300 MB. Make room and install it again."
}

our_is_whole() {
    [ -s "$MODPATH/manifest.sha256" ] && (cd "$MODPATH" && sha256sum -c manifest.sha256 >/dev/null 2>&1)
}

our_unpack() {
    # KernelSU's and APatch's installers unpack all of the zip before this. It must be this zip, not an older one.
    unzip -p "$ZIPFILE" manifest.sha256 2>/dev/null | cmp -s - "$MODPATH/manifest.sha256" 2>/dev/null &&
        our_is_whole && return
    # Also the names of what unzip cannot write, or cannot read.
    our_answer=$(unzip -qo "$ZIPFILE" -x "META-INF/*" -d "$MODPATH" 2>&1) ||
        our_refuse "The zip could not be unpacked: ${our_answer##*unzip: }" \
            "Download it again; if that does not help, make room on /data."
    [ -s "$MODPATH/manifest.sha256" ] || our_refuse "This zip is damaged: it has no manifest." "Download it again."
    our_is_whole || {
        our_answer=$(cd "$MODPATH" && sha256sum -c manifest.sha256 2>/dev/null | grep -v ': OK$')
        our_refuse "This zip is damaged: ${our_answer:-a file is missing}" "Download it again."
    }
}

# our_foreign NAME: the phone has a program of this name that is not ours; says where in our_place.
our_foreign() {
    for our_place in /system/bin /system/xbin /system_ext/bin /product/bin /vendor/bin /vendor/xbin /odm/bin; do
        [ -e "$our_place/$1" ] || continue
        our_line=
        { read -r our_line && read -r our_line; } 2>/dev/null <"$our_place/$1"
        case $our_line in
        "# A command of nspawn:"*) ;;
        *) return 0 ;;
        esac
    done
    return 1
}

our_arrange() {
    rm -rf "$MODPATH/META-INF"
    if [ "$our_layout" = bin ]; then
        mv "$MODPATH/system/bin" "$MODPATH/bin"
        rm -rf "$MODPATH/system"
        : >"$MODPATH/skip_mount"
    fi
    for our_command in $our_commands; do
        our_foreign "$our_command" || continue
        say "This phone has a $our_command of its own, $our_place/$our_command: it is left as it is."
        if [ "$our_layout" = system/bin ]; then
            mkdir -p "$MODPATH/bin"
            mv "$MODPATH/system/bin/$our_command" "$MODPATH/bin/$our_command"
        fi
        say "  Ours: $our_home/bin/$our_command"
    done

    # The managers' zip tools lose modes. Four programs for all files.
    chmod -R u=rwX,go=rX "$MODPATH"
    chmod 0755 "$MODPATH"/*.sh "$MODPATH/python/bin"/* "$MODPATH/python/lib"/ld-linux*
    for our_place in "$MODPATH/bin" "$MODPATH/system/bin" "$MODPATH/share/builtin"/*; do
        [ -d "$our_place" ] || continue
        chmod 0755 "$our_place"/*
    done
    if [ -d "$MODPATH/system/bin" ]; then
        chown 0:2000 "$MODPATH/system/bin" "$MODPATH/system/bin"/*
    fi
    if [ -x /system/bin/chcon ]; then
        /system/bin/chcon -R u:object_r:system_file:s0 "$MODPATH" 2>/dev/null
    fi
    [ -x "$MODPATH/python/bin/python3.13" ] || our_refuse "This zip has no Python." "Download it again."
    if [ "$our_layout" = bin ]; then
        our_link "$our_home/bin"
    fi
}

# our_python ARGUMENT...: the bundled Python, which names its loader by the place that it has after the reboot.
our_python() {
    for our_loader in "$MODPATH/python/lib"/ld-linux*; do
        break
    done
    # shellcheck disable=SC2086  # two words, or none
    $our_limit env -i PATH=/system/bin:/system/xbin:/vendor/bin LANG=C.UTF-8 "TMPDIR=${TMPDIR:-/data/local/tmp}" \
        ANDROID_ROOT=/system ANDROID_DATA=/data "NSPAWN_MODULE=$MODPATH" \
        "$our_loader" --library-path "$MODPATH/python/lib" \
        "$MODPATH/python/bin/python3.13" -I -S -B "$@" 2>&1
}

our_report() {
    our_limit=
    command -v timeout >/dev/null 2>&1 && our_limit="timeout 20"
    our_answer=$(our_python "$MODPATH/python/entry/nspawn.py" doctor --brief)
    our_status=$?
    if [ "$our_status" -gt 1 ] || [ -z "$our_answer" ]; then
        if our_answer=$(our_python -c "import ssl, ctypes"); then
            our_answer="What this phone offers is not known yet. After the reboot: nspawn doctor"
        else
            say "! The Python in this zip does not start on this phone, so nspawn will not run. It said:"
        fi
    fi
    printf '%s\n' "$our_answer" | while IFS= read -r our_line; do
        say "  $our_line"
    done
}

our_install() {
    say() {
        ui_print "$1"
    }
    # KernelSU and APatch come with umask 0.
    umask 022
    our_check_manager
    our_check_machine
    our_android=$(/system/bin/getprop ro.build.version.release 2>/dev/null)
    say "- $our_manager, Android ${our_android:-?} (API ${API:-?}), Linux $our_kernel, $our_arch"
    our_unpack
    # shellcheck source=share/module.sh
    . "$MODPATH/share/module.sh"
    our_new=$(our_property version "$MODPATH/module.prop")
    if our_old=$(our_property version "$our_home/module.prop" 2>/dev/null); then
        say "- nspawn $our_new, instead of $our_old. What runs goes on until the reboot."
    else
        say "- nspawn $our_new"
    fi
    our_arrange
    if [ -d "$our_state" ]; then
        say "- The containers and settings in $our_state are kept."
    fi
    say "- What this phone has for containers:"
    our_report
    say "- Reboot. Then nspawn is at http://localhost:8080"
    say "  The button of the module in the manager opens it and logs in."
}

our_install
