/** What a client may ask of this host: `virsh capabilities`. */
export function formatCapabilities({ hasKvm, memoryKib }: { hasKvm: boolean; memoryKib: number }): string {
  return `<capabilities>

  <host>
    <cpu>
      <arch>x86_64</arch>
    </cpu>
    <topology>
      <cells num='1'>
        <cell id='0'>
          <memory unit='KiB'>${memoryKib}</memory>
        </cell>
      </cells>
    </topology>
  </host>

  <guest>
    <os_type>hvm</os_type>
    <arch name='x86_64'>
      <wordsize>64</wordsize>
      <machine>q35</machine>
      <machine>pc</machine>
      <domain type='qemu'/>${hasKvm ? "\n      <domain type='kvm'/>" : ""}
    </arch>
    <features>
      <acpi default='on' toggle='yes'/>
      <disksnapshot default='on' toggle='no'/>
    </features>
  </guest>

</capabilities>
`;
}
